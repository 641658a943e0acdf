//! What is kept of a container: one JSON record in the db's table `containers`.
//!
//! Written at create (durably, unless the container removes itself), before its process is released (`starting`), and at every
//! change of state. A kill of the daemon between two of these leaves a record that recovery compares with the kernel.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use types::container::{ContainerConfig, EndpointSettings, HostConfig};
use types::{ContainerId, ImageId};

use crate::mountpoint::MountPoint;
use crate::view::{DeathView, Status};

/// One container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: ContainerId,
    pub(crate) name: String,
    #[serde(with = "stamp")]
    pub(crate) created: Timestamp,
    pub(crate) image_id: ImageId,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    pub(crate) config: ContainerConfig,
    pub(crate) host: HostConfig,
    pub(crate) runtime: String,
    #[serde(default)]
    pub(crate) mounts: Vec<MountPoint>,
    /// Networks to join at start: names with what was asked.
    #[serde(default)]
    pub(crate) networks: BTreeMap<String, EndpointSettings>,
    #[serde(default)]
    pub(crate) state: RunState,
}

/// What changes from run to run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunState {
    pub(crate) status: Status,
    /// A start is under way: if the daemon finds this at its own start, it was killed in the middle.
    pub(crate) starting: bool,
    pub(crate) pid: u32,
    /// Start time of `pid` in clock ticks since boot: tells it from a later process with the same number.
    pub(crate) pid_start: u64,
    pub(crate) exit_code: i32,
    pub(crate) error: String,
    pub(crate) oom_killed: bool,
    #[serde(with = "stamp::option")]
    pub(crate) started_at: Option<Timestamp>,
    #[serde(with = "stamp::option")]
    pub(crate) finished_at: Option<Timestamp>,
    /// The user stopped it: the restart policy rests.
    pub(crate) stopped_by_user: bool,
    pub(crate) restart_count: u32,
    pub(crate) shim_lost: bool,
    pub(crate) death: Option<DeathView>,
    /// Where its cgroups are, for the last words.
    pub(crate) cgroup: Option<crate::evidence::Cgroup>,
    /// What the networks gave for this run.
    pub(crate) endpoints: Vec<network::Endpoint>,
}

/// Times as RFC 3339 texts.
mod stamp {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }

    pub(super) mod option {
        use super::{Deserialize, Deserializer, Error, Serializer, Timestamp};

        pub(in super::super) fn serialize<S: Serializer>(
            time: &Option<Timestamp>,
            s: S,
        ) -> Result<S::Ok, S::Error> {
            match time {
                Some(time) => s.collect_str(time),
                None => s.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            d: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Option::<String>::deserialize(d)?
                .map(|text| text.parse().map_err(D::Error::custom))
                .transpose()
        }
    }
}
