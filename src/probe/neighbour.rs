//! ARP and neighbour discovery: the kernel asks, and its neighbour table shows what came of it.
//!
//! Owns a thread that talks to the kernel: a question may have to wait for somebody who holds the
//! lock of the network configuration, and other probes must not wait with it. The kernel repeats a
//! question that got no answer after a second (`retrans_time_ms`), so that with a shorter interval
//! one lost packet makes several lost probes.

use std::error::Error;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Loss;
use super::way::Way;
use crate::kernel::{KernelError, Neighbour, Neighbours};
use crate::model::Family;

/// An answer is looked for after so long, and then after twice the time each, up to the longest.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LONGEST_LOOK: Duration = Duration::from_millis(32);

/// Something to be done with the neighbours.
type Question = Box<dyn FnOnce(&mut Neighbours) + Send>;

/// The neighbours of this node. Clones talk to the same thread, which ends with the last of them.
#[derive(Clone)]
pub(super) struct Neighbourhood {
    questions: mpsc::Sender<Question>,
    /// Whether the kernel has told anything during this probe.
    heard: bool,
}

impl Neighbourhood {
    /// With a thread of its own, in the network namespace of this one.
    pub(super) fn new() -> Self {
        let (questions, receiver) = mpsc::channel();
        let thread = thread::Builder::new().name("neighbours".to_owned());
        // Without a thread there is nobody to receive, and each probe says that.
        let _ = thread.spawn(move || answer(&receiver));
        Self {
            questions,
            heard: false,
        }
    }

    /// Asks once, and looks for the answer until it is there.
    pub(super) async fn probe(&mut self, way: &Way) -> Result<(), Loss> {
        self.heard = false;
        let (address, link) = (way.to(), way.link());
        let asked = move |neighbours: &mut Neighbours| {
            let link = match link {
                Some(link) => Some(link),
                None => neighbours.link_of(address)?,
            };
            let ask = |link| Ok((link, neighbours.ask(address, link)?));
            link.map(ask).transpose()
        };
        let Some((link, known)) = self.kernel(asked).await? else {
            return Err(Loss::Unreachable("it is not on any link".into()));
        };
        if known == Neighbour::Fixed {
            return Ok(());
        }
        let mut pause = FIRST_LOOK;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
            let look = move |neighbours: &mut Neighbours| neighbours.state(address, link);
            match self.kernel(look).await? {
                Neighbour::Reachable | Neighbour::Fixed => return Ok(()),
                Neighbour::Asked | Neighbour::Stale => {}
                Neighbour::Missing => {
                    let protocol = match Family::of(&address) {
                        Family::V4 => "ARP",
                        Family::V6 => "neighbour discovery",
                    };
                    return Err(Loss::Unreachable(format!("no answer to {protocol}").into()));
                }
            }
        }
    }

    /// What it means that a probe had to be ended.
    pub(super) fn silence(&self) -> Loss {
        match self.heard {
            true => Loss::Timeout,
            false => Loss::Local("the kernel is too busy to tell its neighbours".into()),
        }
    }

    /// Has the thread ask the kernel something.
    async fn kernel<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&mut Neighbours) -> Result<T, KernelError> + Send + 'static,
    ) -> Result<T, Loss> {
        let (sender, answer) = oneshot::channel();
        let question = move |neighbours: &mut Neighbours| {
            // A probe that has ended by now does not want to know any more.
            if !sender.is_closed() {
                let _ = sender.send(question(neighbours));
            }
        };
        // If nobody receives, no answer will come either.
        let _ = self.questions.send(Box::new(question));
        match answer.await {
            Ok(answer) => {
                self.heard = true;
                answer.map_err(|error| Loss::Local(in_words(&error).into()))
            }
            Err(_) => Err(Loss::Local(
                "the kernel cannot be asked for its neighbours".into(),
            )),
        }
    }
}

/// Answers questions until nobody can ask any more. One that cannot be answered is dropped.
fn answer(questions: &mpsc::Receiver<Question>) {
    let mut open: Option<Neighbours> = None;
    for question in questions {
        if open.is_none() {
            open = Neighbours::open().ok();
        }
        if let Some(neighbours) = &mut open {
            question(neighbours);
        }
    }
}

/// An error with what it comes from.
fn in_words(error: &KernelError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
