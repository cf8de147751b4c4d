//! From a key to its line and from a place in the text to its key.

use std::ops::Range;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::Problem;

/// The line of the key at `path` (such as `port[1].mac`), or of the nearest key above it that is written
/// in the text. `None` if not even that is there, or if the text is not TOML.
pub(super) fn line_of(text: &str, path: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for step in path.split('.') {
        let (name, index) = match step.split_once('[') {
            Some((name, rest)) => {
                (name, rest.strip_suffix(']').and_then(|index| index.parse::<usize>().ok()))
            }
            None => (step, None),
        };
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref().as_ref() == name) else { break };
        found = Some(key.span());
        let mut value = value.get_ref();
        if let (Some(index), DeValue::Array(items)) = (index, value) {
            let Some(item) = items.get(index) else { break };
            found = Some(item.span());
            value = item.get_ref();
        }
        match value {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    found.map(|span| line_at(text, span.start))
}

/// The problem that `error` reports, with the key at its place.
pub(super) fn problem_of(text: &str, file: Option<PathBuf>, error: &toml::de::Error) -> Problem {
    let span = error.span();
    Problem {
        file,
        line: span.as_ref().map(|span| line_at(text, span.start)),
        key: span.and_then(|span| key_at(text, &span)).unwrap_or_default(),
        message: error.message().trim_end().replace('\n', ", "),
    }
}

/// The path of the innermost key whose own text or whose value covers `place`. If the text as a whole is not
/// TOML, the word at `place`, if it can be a key. `None` if the place is in no value.
fn key_at(text: &str, place: &Range<usize>) -> Option<String> {
    let Ok(document) = DeTable::parse(text) else {
        let word = text.get(place.clone())?;
        let is_key =
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        return is_key.then(|| word.to_owned());
    };
    key_within(document.get_ref(), place)
}

fn key_within(table: &DeTable<'_>, place: &Range<usize>) -> Option<String> {
    let covers = |span: Range<usize>| span.start <= place.start && place.end <= span.end;
    for (key, value) in table {
        let name = key.get_ref();
        if covers(key.span()) {
            return Some(name.to_string());
        }
        let inner = match value.get_ref() {
            DeValue::Table(inner) => key_within(inner, place).map(|rest| format!("{name}.{rest}")),
            DeValue::Array(items) => {
                items.iter().enumerate().find_map(|(index, item)| match item.get_ref() {
                    DeValue::Table(inner) => key_within(inner, place)
                        .map(|rest| format!("{name}[{index}].{rest}"))
                        .or_else(|| covers(item.span()).then(|| format!("{name}[{index}]"))),
                    _ => covers(item.span()).then(|| format!("{name}[{index}]")),
                })
            }
            _ => None,
        };
        // A table's own span is that of its header; a place in the header names the table.
        if let Some(path) = inner {
            return Some(path);
        }
        if covers(value.span()) {
            return Some(name.to_string());
        }
    }
    None
}

/// The line, from 1 on, of the byte at `offset`.
fn line_at(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "socket = \"/s\"\n[node]\nmtu = 9000\n\n[[port]]\nname = \"a\"\n[[port]]\nname = \"b\"\naddresses = [\n  \"10.0.0.1/24\",\n]\n";

    #[test]
    fn a_key_that_is_written_has_its_own_line() {
        assert_eq!(line_of(TEXT, "socket"), Some(1));
        assert_eq!(line_of(TEXT, "node.mtu"), Some(3));
        assert_eq!(line_of(TEXT, "port[0].name"), Some(6));
        assert_eq!(line_of(TEXT, "port[1].name"), Some(8));
        assert_eq!(line_of(TEXT, "port[1].addresses[0]"), Some(10));
    }

    #[test]
    fn a_key_that_is_not_written_has_the_line_of_its_table() {
        assert_eq!(line_of(TEXT, "node.name"), Some(2));
        assert_eq!(line_of(TEXT, "port[0].mac"), Some(5));
        assert_eq!(line_of(TEXT, "bridge.max_macs"), None);
    }
}
