//! Reading a capture for a person: frames out of pcapng, and a line of words about each.

mod describe;
mod reader;

pub(crate) use describe::describe;
pub(crate) use reader::Reader;
