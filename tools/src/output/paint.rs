//! Colors, as iproute2 uses them: sparingly.

/// What a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hue {
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
    /// A name of a port.
    Name,
    /// A hardware address.
    Address,
}

/// `text` in the color of `hue` if `color` says so.
pub(crate) fn paint(color: bool, hue: Hue, text: &str) -> String {
    if !color {
        return text.to_owned();
    }
    let code = match hue {
        Hue::Good => 32,
        Hue::Bad => 31,
        Hue::Name => 36,
        Hue::Address => 33,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Characters that take room on a terminal: all but the color sequences of [`paint`].
pub(super) fn visible_width(text: &str) -> usize {
    let mut width = 0;
    let mut in_sequence = false;
    for character in text.chars() {
        match character {
            '\x1b' => in_sequence = true,
            'm' if in_sequence => in_sequence = false,
            _ if in_sequence => {}
            _ => width += 1,
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_take_no_room() {
        let painted = paint(true, Hue::Good, "up");
        assert_ne!(painted, "up");
        assert_eq!(visible_width(&painted), 2);
        assert_eq!(paint(false, Hue::Good, "up"), "up");
    }
}
