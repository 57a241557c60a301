//! The way that a packet takes: which rules it meets, what the tables say, and what becomes of it.
//!
//! Owns following it through rules and routes as they were read ([`walk`]), and telling that together with the kernel's own
//! answer, the documents behind it, and where they differ ([`Explanation`]). Pure: who reads the node and asks the kernel is
//! `commands`.

mod compare;
mod fit;
mod text;
mod translate;
mod view;
mod walk;

pub use fit::Fit;
pub use view::{Explanation, HopView, Known};
pub use walk::{End, Found, Outcome, Step, Walk, walk};

#[cfg(test)]
mod tests;
