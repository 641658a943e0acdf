//! `info`.

use crate::client::Client;
use crate::document::Document;
use crate::error::CommandError;
use crate::format::template::Template;
use crate::format::units;
use crate::ui::Ui;

/// Display system-wide information
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Format output using a custom template: 'json' or 'TEMPLATE' (a Go template)
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
}

/// Prints what the engine says about itself and its host.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let template = match args.format.as_str() {
        "" | "json" => None,
        text => Some(Template::inspect(text)?),
    };
    let info = client.get("/info").await?;
    match &template {
        Some(template) => ui.line(template.render(&info)?)?,
        None if args.format == "json" => ui.line(info.compact())?,
        None => {
            ui.line(format_args!(
                "Client:\n Version:    {}\n Context:    default\n Debug Mode: false\n",
                env!("CARGO_PKG_VERSION")
            ))?;
            ui.data(server(&info))?;
            for warning in info.texts("Warnings") {
                ui.complain(warning);
            }
        }
    }
    Ok(0)
}

/// Lines of the report: indentation and text, empty values left out.
#[derive(Default)]
struct Report(String);

impl Report {
    fn line(&mut self, depth: usize, name: &str, value: impl AsRef<str>) {
        let value = value.as_ref();
        if !value.is_empty() {
            self.0.push_str(&" ".repeat(depth));
            self.0.push_str(&format!("{name}: {value}\n"));
        }
    }

    fn title(&mut self, depth: usize, name: &str) {
        self.0.push_str(&" ".repeat(depth));
        self.0.push_str(&format!("{name}:\n"));
    }
}

fn server(info: &Document) -> String {
    let mut report = Report::default();
    report.title(0, "Server");
    report.line(1, "Containers", info.int("Containers").to_string());
    report.line(2, "Running", info.int("ContainersRunning").to_string());
    report.line(2, "Paused", info.int("ContainersPaused").to_string());
    report.line(2, "Stopped", info.int("ContainersStopped").to_string());
    report.line(1, "Images", info.int("Images").to_string());
    report.line(1, "Server Version", info.text("ServerVersion"));
    report.line(1, "Storage Driver", info.text("Driver"));
    for pair in info.list("DriverStatus") {
        if let [key, value] = pair.items() {
            report.line(2, key.as_text(), value.as_text());
        }
    }
    report.line(1, "Logging Driver", info.text("LoggingDriver"));
    report.line(1, "Cgroup Driver", info.text("CgroupDriver"));
    report.line(1, "Cgroup Version", info.text("CgroupVersion"));
    plugins(&mut report, info);
    runtimes(&mut report, info);
    host(&mut report, info);
    registries(&mut report, info);
    report.0
}

fn plugins(report: &mut Report, info: &Document) {
    report.title(1, "Plugins");
    report.line(2, "Volume", info.texts("Plugins.Volume").join(" "));
    report.line(2, "Network", info.texts("Plugins.Network").join(" "));
    report.line(2, "Log", info.texts("Plugins.Log").join(" "));
    report.line(1, "Swarm", info.text("Swarm.LocalNodeState"));
}

fn runtimes(report: &mut Report, info: &Document) {
    let mut names: Vec<&str> =
        info.members("Runtimes").iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    report.line(1, "Runtimes", names.join(" "));
    report.line(1, "Default Runtime", info.text("DefaultRuntime"));
    report.line(1, "Init Binary", info.text("InitBinary"));
    report.line(1, "containerd version", info.text("ContainerdCommit.ID"));
    report.line(1, "runc version", info.text("RuncCommit.ID"));
    report.line(1, "init version", info.text("InitCommit.ID"));
    if !info.list("SecurityOptions").is_empty() {
        report.title(1, "Security Options");
    }
    for option in info.texts("SecurityOptions") {
        for (at, part) in option.split(',').enumerate() {
            match part.split_once('=') {
                Some(("name", name)) if at == 0 => report.0.push_str(&format!("  {name}\n")),
                Some(("profile", profile)) => {
                    report.0.push_str(&format!("   Profile: {profile}\n"));
                }
                Some((key, value)) => report.line(3, key, value),
                None => report.0.push_str(&format!("  {part}\n")),
            }
        }
    }
}

fn host(report: &mut Report, info: &Document) {
    report.line(1, "Kernel Version", info.text("KernelVersion"));
    report.line(1, "Operating System", info.text("OperatingSystem"));
    report.line(1, "OSType", info.text("OSType"));
    report.line(1, "Architecture", info.text("Architecture"));
    report.line(1, "CPUs", info.int("NCPU").to_string());
    report.line(1, "Total Memory", units::bytes_size(info.uint("MemTotal")));
    report.line(1, "Name", info.text("Name"));
    report.line(1, "ID", info.text("ID"));
    report.line(1, "Docker Root Dir", info.text("DockerRootDir"));
    report.line(1, "Debug Mode", info.flag("Debug").to_string());
    report.line(1, "HTTP Proxy", info.text("HttpProxy"));
    report.line(1, "HTTPS Proxy", info.text("HttpsProxy"));
    report.line(1, "No Proxy", info.text("NoProxy"));
    let labels = info.texts("Labels");
    if !labels.is_empty() {
        report.title(1, "Labels");
        labels.iter().for_each(|label| report.0.push_str(&format!("  {label}\n")));
    }
    report.line(1, "Experimental", info.flag("ExperimentalBuild").to_string());
}

fn registries(report: &mut Report, info: &Document) {
    let config = info.at("RegistryConfig");
    let secure = |index: &Document| index.flag("Secure");
    let insecure: Vec<&str> = config
        .members("IndexConfigs")
        .iter()
        .filter(|(_, index)| !secure(index))
        .map(|(name, _)| name.as_str())
        .chain(config.texts("InsecureRegistryCIDRs"))
        .collect();
    if !insecure.is_empty() {
        report.title(1, "Insecure Registries");
        insecure.iter().for_each(|name| report.0.push_str(&format!("  {name}\n")));
    }
    let mirrors = config.texts("Mirrors");
    if !mirrors.is_empty() {
        report.title(1, "Registry Mirrors");
        mirrors.iter().for_each(|mirror| report.0.push_str(&format!("  {mirror}\n")));
    }
    report.line(1, "Live Restore Enabled", info.flag("LiveRestoreEnabled").to_string());
    report.0.push('\n');
}
