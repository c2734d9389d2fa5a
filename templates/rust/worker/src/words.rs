//! The words of a text. Pure: tested on any machine.

/// Longest word in bytes; what is longer is passed over.
const WORD_BYTES_MAX: usize = 64;

/// The words between white space, in lower case.
pub(crate) fn of(text: &str) -> Vec<String> {
    text.split_ascii_whitespace()
        .map(str::to_lowercase)
        .filter(|word| word.len() <= WORD_BYTES_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_and_not_too_long() {
        assert_eq!(of("The  quick\tthe\n"), ["the", "quick", "the"]);
        assert_eq!(of(&format!("a {} b", "x".repeat(65))), ["a", "b"]);
        assert!(of(" \n").is_empty());
    }
}
