//! `News`: what a delivery tells, step by step.
//!
//! Apart from the delivery: these are the words between it and whoever shows its user how far it is.

use std::time::Duration;

use crate::net::Addr;
use crate::wire::assured::{Code, Level, Run};

/// What a step of a delivery has brought.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News {
    /// There is a connection. Whether the session is opened over it is told next.
    Connected {
        /// Where to, as it was written.
        address: String,
        /// The address of the other end, if it has one.
        peer: Option<Addr>,
        /// The address of this end, if it has one.
        local: Option<Addr>,
    },
    /// The session is open.
    Opened {
        /// What the server calls itself.
        server: String,
        /// What its acknowledgements stand for.
        level: Level,
    },
    /// Messages are in the spool, up to this number: they outlive the program. Without a spool it is not told.
    Accepted(u64),
    /// Messages are final: acknowledged, but for those that were told to be refused before.
    Acknowledged {
        /// The number of the first.
        first: u64,
        /// The number of the last.
        last: u64,
    },
    /// Replies to messages, each with the message's number.
    Replies(Run),
    /// A message was refused for good. Where there is a spool it is among the dead letters by now.
    Refused {
        /// Its number.
        number: u64,
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: String,
    },
    /// The connection is lost, or there is none to be had.
    Lost {
        /// What has happened.
        reason: String,
        /// After how long another will be tried.
        again: Duration,
    },
    /// The server cannot take messages now.
    PutOff {
        /// Why, for programs.
        code: Code,
        /// Why, for people.
        reason: String,
        /// For how long.
        after: Duration,
    },
    /// The spool has no room, for this reason: what comes next waits until messages are final.
    Full(String),
    /// There are no more messages, and all are final. It is the same however often one asks.
    Done,
}

/// What was told and not yet fetched. What can be told together is.
#[derive(Debug, Default)]
pub(super) struct Telling(std::collections::VecDeque<News>);

impl Telling {
    pub(super) fn tell(&mut self, news: News) {
        match (self.0.back_mut(), news) {
            (Some(News::Acknowledged { last, .. }), News::Acknowledged { first, last: later })
                if *last + 1 == first =>
            {
                *last = later;
            }
            (Some(News::Replies(told)), News::Replies(more)) if told.next() == more.first => told.append(more),
            (_, news) => self.0.push_back(news),
        }
    }

    pub(super) fn fetch(&mut self) -> Option<News> {
        self.0.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_each_other_is_told_at_once() {
        let mut telling = Telling::default();
        telling.tell(News::Acknowledged { first: 1, last: 3 });
        telling.tell(News::Acknowledged { first: 4, last: 9 });
        for (number, reply) in [(10, "ten"), (11, "eleven"), (13, "thirteen")] {
            let mut replies = Run::new(number);
            replies.push(reply.as_bytes());
            telling.tell(News::Replies(replies));
        }
        telling.tell(News::Acknowledged { first: 10, last: 11 });
        assert_eq!(telling.fetch(), Some(News::Acknowledged { first: 1, last: 9 }));
        assert!(matches!(telling.fetch(), Some(News::Replies(replies)) if replies.len() == 2));
        assert!(matches!(telling.fetch(), Some(News::Replies(replies)) if replies.first == 13));
        assert_eq!(telling.fetch(), Some(News::Acknowledged { first: 10, last: 11 }));
        assert_eq!(telling.fetch(), None);
    }
}
