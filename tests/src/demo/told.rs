//! How the story is printed.
//!
//! What always holds: no line of ours is wider than 100 columns; what `slotctl` printed is shown as it was.

/// The widest line.
const WIDTH: usize = 100;

/// A heading.
pub(super) fn title(text: &str) {
    println!("\n{text}\n{}", "=".repeat(text.chars().count().min(WIDTH)));
}

/// Prose.
pub(super) fn tell(text: &str) {
    println!("\n{}", wrapped(text, ""));
}

/// A command as somebody types it.
pub(super) fn command(who: &str, line: &str) {
    println!("\n{}", wrapped(&format!("{who}$ slotctl {line}"), "  "));
}

/// What somebody types at a machine itself.
pub(super) fn at_machine(host: &str, line: &str) {
    println!("\n{}", wrapped(&format!("{host}# {line}"), "  "));
}

/// What came of it, in our words.
pub(super) fn shown(text: &str) {
    println!("{}", wrapped(text, "    "));
}

/// What a program printed, as it was.
pub(super) fn quoted(text: &str) {
    for line in text.trim_end().lines() {
        println!("  | {line}");
    }
}

fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().filter(|line| indent.len() + line.chars().count() + word.chars().count() < WIDTH);
        match last {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_too_wide_and_no_word_is_lost() {
        let text = "word ".repeat(100);
        let lines = wrapped(&text, "    ");
        assert!(lines.lines().all(|line| line.chars().count() <= WIDTH && line.starts_with("    word")));
        assert_eq!(lines.split_whitespace().count(), 100);
    }
}
