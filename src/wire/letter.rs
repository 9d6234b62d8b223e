//! Which characters of a peer's may be shown to a person as they are.
//!
//! Apart from those who show them, which write the others in ways of their own: a screen, a chat.

/// Whether a character is text and nothing else: a terminal does not obey it, and it does not change the order in which text
/// is shown, nor hide (Unicode TR 36). Newlines and tabs are not of that kind.
pub fn is_harmless(letter: char) -> bool {
    let deceives = matches!(letter,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    !letter.is_control() && !deceives
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_harmless_and_what_a_terminal_obeys_is_not() {
        for letter in ['a', ' ', '\u{e9}', '\u{4e16}', '\u{1f600}'] {
            assert!(is_harmless(letter), "{letter:?}");
        }
        for letter in ['\n', '\t', '\r', '\u{1b}', '\u{7f}', '\u{9b}', '\u{202e}', '\u{200b}'] {
            assert!(!is_harmless(letter), "{letter:?}");
        }
    }
}
