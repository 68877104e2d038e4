//! What is drawn while a plan is watched, on a terminal that remembers.

use super::fixtures::*;
use indicatif::{ProgressDrawTarget, TermLike};
use slot_types::ids::LogTime;
use slot_types::view::*;
use slotctl::commands::watch::Progress;
use slotctl::text;
use std::io;
use std::sync::{Arc, Mutex};

/// A terminal 100 columns wide; what was written, without the movements of the cursor.
#[derive(Clone, Debug, Default)]
struct Screen(Arc<Mutex<String>>);

impl Screen {
    fn add(&self, text: &str) -> io::Result<()> {
        self.0.lock().unwrap().push_str(text);
        Ok(())
    }
    /// What was written since this was last asked.
    fn since(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        100
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, line: &str) -> io::Result<()> {
        self.add(line).and_then(|()| self.add("\n"))
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.add(text)
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn at(ms: u64, state: TaskProgress) -> PlanView {
    PlanView { now: LogTime(1_020_000 + ms), ..drain_view(PlanState::Running, state) }
}

#[test]
fn a_bar_says_how_far_how_fast_how_long_and_after_a_while_why_not() {
    let screen = Screen::default();
    let mut progress = Progress::drawn_on(ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 250));
    let mut show = |view: &PlanView| {
        // The terminal is drawn to at most so often.
        std::thread::sleep(std::time::Duration::from_millis(20));
        progress.show(view);
        screen.since()
    };
    let drawn = show(&at(0, TaskProgress::Running));
    assert!(!drawn.contains(&"█".repeat(24)), "a bar that is full before anything was done: {drawn}");
    assert!(drawn.contains('█') && drawn.contains("2 of 4 done · 1 moving · 1 to go · 0.1/s · 20 s left"), "{drawn}");
    assert!(!drawn.contains("nothing moved"), "{drawn}");
    let drawn = show(&at(4_000, TaskProgress::Running));
    assert!(!drawn.contains("nothing moved"), "{drawn}");
    let drawn = show(&at(12_000, TaskProgress::Running));
    let cause = "nothing moved for 12 s · store58 imap3/08 -> imap10/02: waits for commit-epoch";
    assert!(drawn.contains(cause), "{drawn}");
    let mut stuck = at(13_000, TaskProgress::Running);
    stuck.tasks[2].why = "imap10 does not answer".into();
    let drawn = show(&stuck);
    assert!(
        drawn.contains("nothing moved for 13 s · store58 imap3/08 -> imap10/02: imap10 does not answer"),
        "{drawn}"
    );
    let mut moved = at(14_000, TaskProgress::Running);
    moved.tasks[2].steps_done += 1;
    let drawn = show(&moved);
    assert!(drawn.contains("2 of 4 done") && !drawn.contains("nothing moved"), "{drawn}");
}

#[test]
fn a_refused_store_is_said_once_above_the_bar() {
    let screen = Screen::default();
    let mut progress = Progress::drawn_on(ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 250));
    for ms in [0, 20, 40] {
        std::thread::sleep(std::time::Duration::from_millis(20));
        progress.show(&at(ms, TaskProgress::NotDone));
    }
    let drawn = screen.since();
    assert_eq!(drawn.matches("thawed after 1.6 s").count(), 1, "{drawn}");
}

#[test]
fn the_cause_of_a_stall_fits_a_line() {
    let mut view = at(0, TaskProgress::Running);
    view.tasks[2].why = "word ".repeat(40) + "\nand more";
    let line = text::plan::stall(&view, 7_200_000);
    assert!(line.chars().count() <= text::layout::COLUMNS && !line.contains('\n') && line.ends_with('…'), "{line}");
    let mut view = drain_view(PlanState::Proposed, TaskProgress::Waiting);
    view.people_missing = 2;
    assert_eq!(text::plan::stall(&view, 60_000), "nothing moved for 60 s · waits for 2 approvals");
    let view = drain_view(PlanState::Running, TaskProgress::Waiting);
    assert!(text::plan::stall(&view, 60_000).ends_with("does a coordinator lead? slotctl status"));
}
