//! What an error of the kernel says about a probe.

use std::io;

use nix::errno::Errno;

use crate::model::probed::Loss;

impl From<io::Error> for Loss {
    fn from(error: io::Error) -> Self {
        let Some(errno) = error.raw_os_error().map(Errno::from_raw) else {
            return Self::Local(error.to_string().into());
        };
        let words = errno.desc().to_lowercase();
        match errno {
            Errno::ETIMEDOUT => Self::Timeout,
            Errno::ECONNREFUSED => Self::Refused,
            Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE => Self::Broken(words.into()),
            // What ICMP errors become (`icmp_err_convert`, net/ipv4/icmp.c), and what routes that
            // lead nowhere give.
            Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::ENETDOWN
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::ENOPROTOOPT
            | Errno::EPROTO
            | Errno::EACCES => Self::Unreachable(words.into()),
            // A blackhole route, of which one is told only who connects (`fib_props`, net/ipv4/fib_semantics.c).
            Errno::EINVAL => Self::Unreachable("a blackhole route".into()),
            // A packet that was dropped on its way out (`net_xmit_errno`, linux/netdevice.h).
            Errno::ENOBUFS => Self::Unreachable("the link takes no packets".into()),
            Errno::EPERM => {
                Self::Local(format!("cannot send ({words}): a firewall of this node?").into())
            }
            _ => Self::Local(format!("cannot probe: {words}").into()),
        }
    }
}
