use clap::{Args as _, FromArgMatches as _};
use serde_json::{Value, json};

use super::*;

fn options(line: &[&str]) -> ContainerOptions {
    let command = ContainerOptions::augment_args(clap::Command::new("run").disable_help_flag(true))
        .args_override_self(true);
    let argv: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    let words = crate::flags::read(&command, &argv, false).unwrap();
    let matches = command.try_get_matches_from(words.for_clap("run")).unwrap();
    ContainerOptions::from_arg_matches(&matches).unwrap()
}

fn body(line: &[&str]) -> Value {
    options(line).request("busybox", &["sh".to_owned()]).unwrap()
}

fn refusal(line: &[&str]) -> String {
    options(line).request("busybox", &[]).unwrap_err().to_string()
}

#[test]
fn sizes() {
    assert_eq!(values::bytes("64m"), Ok(67_108_864));
    assert_eq!(values::bytes("1.5g"), Ok(1_610_612_736));
    assert_eq!(values::bytes("10 KiB"), Ok(10_240));
    assert_eq!(values::bytes("100"), Ok(100));
    assert_eq!(values::bytes("5b"), Ok(5));
    assert_eq!(values::bytes("x"), Err("invalid size: 'x'".into()));
    assert_eq!(values::bytes("5x"), Err("invalid suffix: 'x'".into()));
    assert_eq!(values::swap_bytes("-1"), Ok(-1));
}

#[test]
fn processors() {
    assert_eq!(values::cpus("0.5"), Ok(500_000_000));
    assert_eq!(values::cpus("1.50"), Ok(1_500_000_000));
    assert_eq!(values::cpus("1/4"), Ok(250_000_000));
    assert_eq!(values::cpus("0.0000000001"), Err("value is too precise".into()));
    assert_eq!(values::cpus("x"), Err("failed to parse x as a rational number".into()));
}

#[test]
fn durations() {
    assert_eq!(values::duration("1m30s"), Ok(90_000_000_000));
    assert_eq!(values::duration("0"), Ok(0));
    assert_eq!(values::duration("x"), Err("time: invalid duration \"x\"".into()));
    assert_eq!(values::duration("5"), Err("time: missing unit in duration \"5\"".into()));
}

#[test]
fn the_cgroup_experiment() {
    let body = body(&[
        "-it",
        "--cpus=0.5",
        "--memory=256m",
        "--memory-swap",
        "512m",
        "--pids-limit",
        "-1",
    ]);
    let host = &body["HostConfig"];
    assert_eq!(host["NanoCpus"], 500_000_000);
    assert_eq!(host["Memory"], 268_435_456);
    assert_eq!(host["MemorySwap"], 536_870_912);
    assert_eq!(host["PidsLimit"], -1);
    assert_eq!(body["Tty"], true);
    assert_eq!(body["OpenStdin"], true);
    assert_eq!(body["StdinOnce"], true);
    assert_eq!(body["Cmd"], json!(["sh"]));
    assert_eq!(host["NetworkMode"], "default");
    assert_eq!(body["NetworkingConfig"]["EndpointsConfig"]["default"]["Aliases"], Value::Null);
}

#[test]
fn mounts() {
    let body = body(&[
        "-v",
        "/host:/c:ro",
        "-v",
        "named:/n",
        "-v",
        "/anonymous",
        "--mount",
        "type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave",
        "--mount",
        "type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1770",
        "--mount",
        "source=v,target=/v,volume-nocopy",
        "--mount",
        "type=image,source=busybox,target=/i,image-subpath=bin",
        "--tmpfs",
        "/run:size=1m",
    ]);
    let host = &body["HostConfig"];
    assert_eq!(host["Binds"], json!(["/host:/c:ro", "named:/n"]));
    assert_eq!(body["Volumes"], json!({"/anonymous": {}}));
    assert_eq!(host["Tmpfs"], json!({"/run": "size=1m"}));
    let mounts = &host["Mounts"];
    assert_eq!(mounts[0]["Type"], "bind");
    assert_eq!(mounts[0]["ReadOnly"], true);
    assert_eq!(mounts[0]["BindOptions"]["Propagation"], "rslave");
    assert_eq!(mounts[1]["TmpfsOptions"]["SizeBytes"], 67_108_864);
    assert_eq!(mounts[1]["TmpfsOptions"]["Mode"], 0o1770);
    assert_eq!(mounts[2]["Type"], "volume");
    assert_eq!(mounts[2]["VolumeOptions"]["NoCopy"], true);
    assert_eq!(mounts[3]["ImageOptions"]["Subpath"], "bin");
}

#[test]
fn bad_mounts() {
    let error = |text| mount::parse(text).unwrap_err();
    assert_eq!(error("type=bind,source=/a"), "target is required");
    assert_eq!(
        error("type=bind,target=/a,volume-nocopy"),
        "cannot mix 'volume-*' options with mount type 'bind'"
    );
    assert_eq!(error("nope=1,target=/a"), "unexpected key 'nope' in 'nope=1'");
    assert_eq!(error("nope,target=/a"), "invalid field 'nope' must be a key=value pair");
    assert_eq!(error("target=/a,readonly=x"), "invalid value for readonly: x");
}

#[test]
fn relative_sources_are_the_clients() {
    let here = std::env::current_dir().unwrap();
    let expect = format!("{}:/x", here.display());
    assert_eq!(mount::volume(".:/x"), Ok(mount::VolumeFlag::Bind(expect)));
    assert_eq!(mount::absolute("/a/./b/../c"), "/a/c");
}

#[test]
fn ports() {
    let body = body(&[
        "-p",
        "8080:80",
        "-p",
        "127.0.0.1::53/udp",
        "-p",
        "[::1]:7000-7001:7000-7001",
        "-p",
        "9000-9002:90",
        "--expose",
        "1-2",
    ]);
    let bindings = &body["HostConfig"]["PortBindings"];
    assert_eq!(bindings["80/tcp"], json!([{"HostIp": "", "HostPort": "8080"}]));
    assert_eq!(bindings["53/udp"], json!([{"HostIp": "127.0.0.1", "HostPort": ""}]));
    assert_eq!(bindings["7001/tcp"], json!([{"HostIp": "::1", "HostPort": "7001"}]));
    assert_eq!(bindings["90/tcp"], json!([{"HostIp": "", "HostPort": "9000-9002"}]));
    assert_eq!(body["ExposedPorts"]["2/tcp"], json!({}));
    assert_eq!(refusal(&["-p", "x:y"]), "invalid containerPort: y");
    assert_eq!(refusal(&["-p", "x:80"]), "invalid hostPort: x");
    assert_eq!(refusal(&["-p", "1.2.3.x:80:80"]), "invalid IP address: 1.2.3.x");
    assert_eq!(
        refusal(&["-p", "1-3:1-2"]),
        "invalid ranges specified for container and host Ports: 1-2 and 1-3"
    );
}

#[test]
fn networks() {
    let body = body(&[
        "--network",
        "name=front,ip=10.0.0.5,alias=web,driver-opt=a=b",
        "--network",
        "back",
    ]);
    assert_eq!(body["HostConfig"]["NetworkMode"], "front");
    let front = &body["NetworkingConfig"]["EndpointsConfig"]["front"];
    assert_eq!(front["IPAMConfig"]["IPv4Address"], "10.0.0.5");
    assert_eq!(front["Aliases"], json!(["web"]));
    assert_eq!(front["DriverOpts"], json!({"a": "b"}));
    assert!(body["NetworkingConfig"]["EndpointsConfig"]["back"].is_object());
    assert_eq!(
        refusal(&["--network", "mine", "--network", "host"]),
        "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
    );
    assert_eq!(
        options(&["--net", "container:x"]).request("i", &[]).unwrap()["HostConfig"]["NetworkMode"],
        "container:x"
    );
}

#[test]
fn devices_and_limits() {
    let body = body(&[
        "--device",
        "/dev/fuse",
        "--device",
        "/dev/a:/dev/b:r",
        "--ulimit",
        "nofile=10:20",
        "--gpus",
        "all",
        "--device-read-bps",
        "/dev/sda:1mb",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--shm-size",
        "1g",
    ]);
    let host = &body["HostConfig"];
    assert_eq!(host["Devices"][0]["PathInContainer"], "/dev/fuse");
    assert_eq!(host["Devices"][1]["CgroupPermissions"], "r");
    assert_eq!(host["Ulimits"], json!([{"Name": "nofile", "Hard": 20, "Soft": 10}]));
    assert_eq!(host["DeviceRequests"][0]["Count"], -1);
    assert_eq!(host["DeviceRequests"][0]["Capabilities"], json!([["gpu"]]));
    assert_eq!(host["BlkioDeviceReadBps"], json!([{"Path": "/dev/sda", "Rate": 1_048_576}]));
    assert_eq!(host["Sysctls"], json!({"net.ipv4.ip_forward": "1"}));
    assert_eq!(refusal(&["--device", "/dev/a:/dev/b:x"]), "bad mode specified: x");
}

#[test]
fn environment_and_labels() {
    let dir = tempfile::tempdir().unwrap();
    let env = dir.path().join("env");
    std::fs::write(&env, "# comment\n\nA=1\n  B=two words\nPATH\nNOT_SET_ANYWHERE\n").unwrap();
    let labels = dir.path().join("labels");
    std::fs::write(&labels, "a.b=c\nlonely\n").unwrap();
    let body = body(&[
        "--env-file",
        env.to_str().unwrap(),
        "-e",
        "C=3",
        "-e",
        "NOT_SET_ANYWHERE",
        "--label-file",
        labels.to_str().unwrap(),
        "-l",
        "x=y=z",
    ]);
    let path = format!("PATH={}", std::env::var("PATH").unwrap());
    assert_eq!(body["Env"], json!(["A=1", "B=two words", path, "C=3", "NOT_SET_ANYWHERE"]));
    assert_eq!(body["Labels"], json!({"a.b": "c", "lonely": "", "x": "y=z"}));
    std::fs::write(&env, "A B=1\n").unwrap();
    assert_eq!(
        refusal(&["--env-file", env.to_str().unwrap()]),
        "variable 'A B' contains whitespaces"
    );
}

#[test]
fn health_restart_and_security() {
    let dir = tempfile::tempdir().unwrap();
    let profile = dir.path().join("seccomp.json");
    std::fs::write(&profile, "{ \"defaultAction\" : \"SCMP_ACT_ALLOW\" }").unwrap();
    let body = body(&[
        "--health-cmd",
        "true",
        "--health-interval",
        "5s",
        "--restart",
        "on-failure:3",
        "--time",
        "private",
        "--security-opt",
        "no-new-privileges",
        "--security-opt",
        "systempaths=unconfined",
        "--security-opt",
        &format!("seccomp={}", profile.display()),
    ]);
    assert_eq!(body["Healthcheck"]["Test"], json!(["CMD-SHELL", "true"]));
    assert_eq!(body["Healthcheck"]["Interval"], 5_000_000_000_i64);
    let host = &body["HostConfig"];
    assert_eq!(host["RestartPolicy"], json!({"Name": "on-failure", "MaximumRetryCount": 3}));
    assert_eq!(
        host["SecurityOpt"],
        json!(["no-new-privileges", "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"])
    );
    assert_eq!(host["MaskedPaths"], json!([]));
    assert_eq!(host["TimeMode"], "private");
    assert_eq!(refusal(&["--time", "x"]), "--time: invalid TIME mode");
    assert_eq!(
        refusal(&["--restart", "on-failure:x"]),
        "invalid restart policy format: maximum retry count must be an integer"
    );
}

#[test]
fn an_entrypoint_can_be_emptied() {
    assert_eq!(body(&["--entrypoint", ""])["Entrypoint"], json!([""]));
    assert_eq!(body(&[])["Entrypoint"], Value::Null);
}
