//! Reading, of what `ip` set up.
