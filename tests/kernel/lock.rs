//! One writer at a time.

use srsync::kernel::{Lock, LockError};
use srsync::model::Protocol;

use super::build::OURS;
use crate::support::in_namespace;

#[test]
fn the_second_is_told_who_has_the_lock_and_may_have_it_afterwards() {
    in_namespace(|| {
        let first = Lock::take(OURS).unwrap();
        let Err(LockError::Held { protocol, holder }) = Lock::take(OURS) else {
            panic!("taken twice");
        };
        assert_eq!(protocol, OURS);
        assert_eq!(holder.pid, Some(std::process::id() as i32));
        let command = holder.command.unwrap();
        assert!(command.contains("kernel"), "{command}");
        drop(first);
        let _again = Lock::take(OURS).unwrap();
    });
}

#[test]
fn other_protocols_and_other_namespaces_do_not_disturb() {
    in_namespace(|| {
        let _ours = Lock::take(OURS).unwrap();
        let _other = Lock::take(Protocol::new(84)).unwrap();
        in_namespace(|| {
            let _elsewhere = Lock::take(OURS).unwrap();
        });
    });
}

/// A client that only asks who it is leaves nothing behind that would make the next one wait.
#[test]
fn asking_a_thousand_times_is_answered_at_once() {
    in_namespace(|| {
        let _lock = Lock::take(OURS).unwrap();
        for _ in 0..1000 {
            assert!(matches!(Lock::take(OURS), Err(LockError::Held { .. })));
        }
    });
}
