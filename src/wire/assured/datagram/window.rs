//! `Window`: how many messages may be on their way without an answer.
//!
//! Apart from what they are: here is only how fast a sender may go, so that it does not choke the network.

use super::{FIRST_WINDOW, WINDOW};

/// The congestion window: one more for each window acknowledged, half of it for each in which something was lost.
#[derive(Clone, Debug)]
pub(super) struct Window {
    size: u32,
    /// What was acknowledged since it last grew.
    acknowledged: u32,
    /// The last number that was sent before it last shrank: what was lost up to there was lost in the same window.
    shrunk_at: u64,
    /// What the server grants.
    granted: u32,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { size: FIRST_WINDOW, acknowledged: 0, shrunk_at: 0, granted: WINDOW }
    }

    /// How many messages may be on their way. It is never none: a server that wants nothing says so otherwise.
    pub(super) fn size(&self) -> usize {
        self.size.min(self.granted.clamp(1, WINDOW)) as usize
    }

    /// The server grants so many.
    pub(super) fn grant(&mut self, messages: u32) {
        self.granted = messages;
    }

    /// So many messages have arrived.
    pub(super) fn arrived(&mut self, messages: u32) {
        self.acknowledged += messages;
        if self.acknowledged >= self.size {
            self.acknowledged -= self.size;
            self.size = (self.size + 1).min(WINDOW);
            self.acknowledged = self.acknowledged.min(self.size);
        }
    }

    /// A message was lost, when the last that was sent had this number.
    pub(super) fn lost(&mut self, number: u64, sent: u64) {
        if number > self.shrunk_at {
            self.size = (self.size / 2).max(1);
            self.acknowledged = 0;
            self.shrunk_at = sent;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_a_window_and_is_halved_once_a_loss() {
        let mut window = Window::new();
        for (arrived, size) in [(3, 4), (1, 5), (4, 5), (1, 6)] {
            window.arrived(arrived);
            assert_eq!(window.size(), size);
        }
        for (number, sent, size) in [(10, 15, 3), (12, 17, 3), (15, 17, 3), (16, 17, 1), (99, 99, 1)] {
            window.lost(number, sent);
            assert_eq!(window.size(), size, "{number}");
        }
    }

    #[test]
    fn it_keeps_to_its_limits_and_to_what_is_granted() {
        let mut window = Window::new();
        for _ in 0..9999 {
            window.arrived(1);
        }
        assert_eq!(window.size(), 64);
        for (granted, size) in [(5, 5), (0, 1), (u32::MAX, 64)] {
            window.grant(granted);
            assert_eq!(window.size(), size);
        }
    }
}
