//! `docker update`: fields that are not zero replace the old ones. Pure.

use types::container::HostConfig;

/// Changes the limits of `host` by `wanted`.
pub(crate) fn apply(host: &mut HostConfig, wanted: &HostConfig) {
    macro_rules! take {
        ($($field:ident),*) => {$(
            if wanted.$field != HostConfig::default().$field {
                host.$field = wanted.$field.clone();
            }
        )*};
    }
    // A new memory limit drags the swap limit along that was made from the old one.
    if wanted.memory != 0
        && wanted.memory_swap == 0
        && host.memory_swap == host.memory.saturating_mul(2)
    {
        host.memory_swap = 0;
    }
    if wanted.nano_cpus != 0 {
        host.cpu_period = 0;
        host.cpu_quota = 0;
    } else if wanted.cpu_period != 0 || wanted.cpu_quota != 0 {
        host.nano_cpus = 0;
    }
    take!(
        cpu_shares,
        memory,
        nano_cpus,
        blkio_weight,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        memory_reservation,
        memory_swap,
        pids_limit
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_changes() {
        let mut host =
            HostConfig { memory: 64, memory_swap: 128, cpu_shares: 5, ..HostConfig::default() };
        apply(&mut host, &HostConfig { memory: 100, nano_cpus: 7, ..HostConfig::default() });
        assert_eq!(
            (host.memory, host.memory_swap, host.cpu_shares, host.nano_cpus),
            (100, 0, 5, 7)
        );
        apply(&mut host, &HostConfig { cpu_quota: 9000, ..HostConfig::default() });
        assert_eq!((host.nano_cpus, host.cpu_quota), (0, 9000));
    }
}
