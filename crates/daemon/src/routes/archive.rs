//! `/containers/{id}/archive`: `docker cp`.

use api::pathstat::{self, PathStat, go_mode};
use engine::PutArchive;
use hyper::header::HeaderValue;
use hyper::{Response, StatusCode};

use crate::body::Body;
use crate::call::{Call, bare, typed};
use crate::failure::{Answer, Failure};
use crate::show;

fn path(call: &Call) -> Result<&str, Failure> {
    match call.query.text("path") {
        "" => Err(Failure::invalid("Bad parameters: 'path' is required")),
        path => Ok(path),
    }
}

pub(super) async fn stat(call: &Call, id: &str) -> Answer {
    let stat = call.engine().archive_stat(id, path(call)?).await?;
    bare(StatusCode::OK).map(|response| with_stat(response, stat))
}

pub(super) async fn get(call: &Call, id: &str) -> Answer {
    let (stat, tar) = call.engine().archive_get(id, path(call)?).await?;
    Ok(with_stat(typed(StatusCode::OK, "application/x-tar", Body::Archive(tar)), stat))
}

pub(super) async fn put(call: Call, id: &str) -> Answer {
    let request = PutArchive {
        path: path(&call)?.to_owned(),
        no_overwrite_dir_non_dir: call.query.flag("noOverwriteDirNonDir"),
        copy_uid_gid: call.query.flag("copyUIDGID"),
    };
    let engine = call.engine().clone();
    engine.archive_put(id, request, call.upload()).await?;
    bare(StatusCode::OK)
}

fn with_stat(mut response: Response<Body>, stat: engine::PathStat) -> Response<Body> {
    let stat = PathStat {
        name: stat.name,
        size: i64::try_from(stat.size).unwrap_or(i64::MAX),
        mode: go_mode(stat.mode),
        mtime: show::time(stat.mtime),
        link_target: stat.link_target,
    };
    let value = HeaderValue::from_str(&stat.encode()).expect("base64 is a header value");
    response.headers_mut().insert(pathstat::HEADER, value);
    response
}
