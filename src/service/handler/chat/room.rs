//! `Room`: who is in a chat, and what each of them has still to be sent.
//!
//! Apart from the connections, so that the rules of a chat can be tested without any: nothing here waits or reads a clock.

use std::collections::BTreeMap;
use std::task::Waker;

use crate::wire::{Framing, is_harmless};

/// How many bytes may wait for a member before nobody says any more to the room, for [`PATIENCE`](super::PATIENCE), and the
/// member is then put out.
pub(super) const MOST_UNREAD: usize = 64 * 1024;

/// How many members a newcomer is told by name.
pub(super) const MOST_NAMED: usize = 50;

/// Escaping makes at most four bytes of one.
const ESCAPED: usize = 4;

/// A chat room. Members are named by numbers that are never given twice.
#[derive(Debug)]
pub(super) struct Room {
    last: u64,
    members: BTreeMap<u64, Member>,
    /// How many bytes may wait for a member in any case, announcements included.
    most: usize,
}

#[derive(Debug)]
struct Member {
    /// Where it comes from, as the others are told.
    origin: String,
    /// How what is said to it is told apart.
    framing: Framing,
    /// What it has still to be sent, as it goes on the stream.
    unread: Vec<u8>,
    /// Whether it was put out because it reads too slowly.
    is_out: bool,
    /// Whom to wake when there is something to be sent, or room to say something.
    waker: Option<Waker>,
    /// Whether it has something to say for which there was no room.
    wants_room: bool,
}

/// What there is for a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unread {
    Nothing,
    Some,
    /// It was too slow, and is out.
    Out,
}

impl Room {
    /// A room for messages of at most `max_message` bytes.
    pub(super) fn new(max_message: usize) -> Self {
        let most = max_message.saturating_mul(ESCAPED).saturating_add(2 * MOST_UNREAD);
        Self { last: 0, members: BTreeMap::new(), most }
    }

    /// Lets somebody in, and tells all.
    pub(super) fn join(&mut self, origin: String, framing: Framing) -> u64 {
        self.last += 1;
        let already = self.named();
        let origin = shown(origin.as_bytes());
        let arrived = format!("<announce> {} is connected as <user{}>.", String::from_utf8_lossy(&origin), self.last);
        let member = Member {
            origin: String::from_utf8_lossy(&origin).into_owned(),
            framing,
            unread: Vec::new(),
            is_out: false,
            waker: None,
            wants_room: false,
        };
        self.members.insert(self.last, member);
        self.tell(arrived.as_bytes(), None);
        if let Some(newcomer) = self.members.get_mut(&self.last) {
            newcomer.tell(format!("<announce> already connected: {already}.").as_bytes(), self.most);
        }
        self.last
    }

    /// Says something to all but the one who says it. Gives false, and says nothing, while somebody has too much unread:
    /// the waker is woken when that has changed.
    pub(super) fn say(&mut self, id: u64, text: &[u8], waker: &Waker) -> bool {
        if self.members.iter().any(|(other, member)| *other != id && member.is_behind()) {
            if let Some(speaker) = self.members.get_mut(&id) {
                speaker.wants_room = true;
                speaker.is_to_wake(waker);
            }
            return false;
        }
        let mut line = format!("<user{id}> ").into_bytes();
        line.extend_from_slice(&shown(text));
        self.tell(&line, Some(id));
        true
    }

    /// Puts out who has too much unread, but for the one who has waited for it.
    pub(super) fn put_out_the_slow(&mut self, id: u64) {
        for (_, member) in self.members.iter_mut().filter(|(other, member)| **other != id && member.is_behind()) {
            member.put_out();
        }
        self.wake_who_wants_room();
    }

    /// Moves what a member has still to be sent into `out`, which is empty. If there is nothing, the waker is woken when there is.
    pub(super) fn take_unread(&mut self, id: u64, out: &mut Vec<u8>, waker: &Waker) -> Unread {
        let Some(member) = self.members.get_mut(&id) else { return Unread::Out };
        if member.is_out {
            return Unread::Out;
        }
        if member.unread.is_empty() {
            member.is_to_wake(waker);
            return Unread::Nothing;
        }
        let was_behind = member.is_behind();
        std::mem::swap(&mut member.unread, out);
        if was_behind {
            self.wake_who_wants_room();
        }
        Unread::Some
    }

    /// Whether a member was put out; if not, the waker is woken when it is.
    pub(super) fn is_out(&mut self, id: u64, waker: &Waker) -> bool {
        let Some(member) = self.members.get_mut(&id) else { return true };
        member.is_to_wake(waker);
        member.is_out
    }

    /// Lets somebody out; the others are told if the room goes on.
    pub(super) fn leave(&mut self, id: u64, goes_on: bool) {
        self.members.remove(&id);
        if goes_on {
            self.tell(format!("<announce> <user{id}> is disconnected.").as_bytes(), None);
        }
        self.wake_who_wants_room();
    }

    fn tell(&mut self, text: &[u8], but: Option<u64>) {
        for (_, member) in self.members.iter_mut().filter(|(id, _)| Some(**id) != but) {
            member.tell(text, self.most);
        }
    }

    fn named(&self) -> String {
        let mut names: Vec<_> =
            self.members.iter().take(MOST_NAMED).map(|(id, one)| format!("{} as <user{id}>", one.origin)).collect();
        match self.members.len() {
            0 => return "nobody".to_owned(),
            many if many > MOST_NAMED => names.push(format!("and {} others", many - MOST_NAMED)),
            _ => {}
        }
        names.join(", ")
    }

    fn wake_who_wants_room(&mut self) {
        for member in self.members.values_mut() {
            if std::mem::take(&mut member.wants_room) {
                member.wake();
            }
        }
    }
}

impl Member {
    fn is_behind(&self) -> bool {
        self.unread.len() > MOST_UNREAD
    }

    fn tell(&mut self, text: &[u8], most: usize) {
        if self.is_out {
            return;
        }
        // Announcements are told without waiting for room.
        if self.unread.len() > most {
            self.put_out();
            return;
        }
        self.framing.encode(text, &mut self.unread);
        self.wake();
    }

    fn put_out(&mut self) {
        self.is_out = true;
        self.unread = Vec::new();
        self.wake();
    }

    fn is_to_wake(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// What a member has said as the others are shown it: letters and tabs as they are, every byte that a terminal would obey, that
/// would deceive the eye or is no UTF-8 as `\033`, as ncat does.
fn shown(text: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(text.len());
    let octal = |bytes: &[u8], shown: &mut Vec<u8>| {
        for byte in bytes {
            shown.extend_from_slice(format!("\\{byte:03o}").as_bytes());
        }
    };
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            match letter == '\t' || is_harmless(letter) {
                true => shown.extend_from_slice(bytes),
                false => octal(bytes, &mut shown),
            }
        }
        octal(chunk.invalid(), &mut shown);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> Room {
        Room::new(1024)
    }

    fn unread(room: &mut Room, id: u64) -> String {
        let mut out = Vec::new();
        room.take_unread(id, &mut out, Waker::noop());
        String::from_utf8(out).expect("text")
    }

    fn say(room: &mut Room, id: u64, text: impl AsRef<[u8]>) -> bool {
        room.say(id, text.as_ref(), Waker::noop())
    }

    /// Makes a member have too much unread.
    fn fall_behind(room: &mut Room, speaker: u64) {
        while say(room, speaker, [b'.'; 1024]) {}
    }

    #[test]
    fn all_are_told_who_comes_speaks_and_goes() {
        let mut room = room();
        let one = room.join("127.0.0.1".into(), Framing::Line);
        assert_eq!(
            unread(&mut room, one),
            "<announce> 127.0.0.1 is connected as <user1>.\n<announce> already connected: nobody.\n"
        );
        let two = room.join("::1".into(), Framing::Nul);
        assert_eq!(
            unread(&mut room, two),
            "<announce> ::1 is connected as <user2>.\0<announce> already connected: 127.0.0.1 as <user1>.\0"
        );
        let three = room.join("::1".into(), Framing::Length);
        room.take_unread(three, &mut Vec::new(), Waker::noop());
        assert_eq!(
            unread(&mut room, one),
            "<announce> ::1 is connected as <user2>.\n<announce> ::1 is connected as <user3>.\n"
        );
        unread(&mut room, two);
        assert!(say(&mut room, two, "hello"));
        assert_eq!(unread(&mut room, one), "<user2> hello\n");
        assert_eq!(unread(&mut room, two), "");
        assert_eq!(unread(&mut room, three), "\0\0\0\x0d<user2> hello");
        room.leave(two, true);
        assert_eq!(unread(&mut room, one), "<announce> <user2> is disconnected.\n");
        // A number stays that of who had it.
        assert_eq!(room.join("::1".into(), Framing::Line), 4);
    }

    #[test]
    fn what_is_said_is_shown_as_text() {
        for (said, seen) in [
            ("hello\tthere".as_bytes(), "hello\tthere"),
            (b"bin\x01\x1bx", "bin\\001\\033x"),
            (b"over\rwrite\x7f\n", "over\\015write\\177\\012"),
            ("caf\u{e9} \u{202e}".as_bytes(), "caf\u{e9} \\342\\200\\256"),
            (b"\xff\xfe", "\\377\\376"),
            ("\u{9b}".as_bytes(), "\\302\\233"),
        ] {
            assert_eq!(String::from_utf8(shown(said)).expect("text"), seen);
        }
    }

    #[test]
    fn nothing_is_said_while_somebody_has_too_much_unread_who_is_then_put_out() {
        let mut room = room();
        let ids: Vec<u64> = (0..3).map(|_| room.join("::1".into(), Framing::Line)).collect();
        let mut heard = 0;
        while say(&mut room, ids[0], [b'.'; 1024]) {
            heard += unread(&mut room, ids[1]).matches("<user1>").count();
        }
        assert!(heard > 60, "{heard}");
        assert!(room.members[&ids[2]].unread.len() < MOST_UNREAD + 2048);
        room.put_out_the_slow(ids[0]);
        assert!(room.is_out(ids[2], Waker::noop()) && !room.is_out(ids[1], Waker::noop()));
        assert_eq!(room.take_unread(ids[2], &mut Vec::new(), Waker::noop()), Unread::Out);
        assert!(say(&mut room, ids[0], "on"));
        assert_eq!(unread(&mut room, ids[1]).lines().last(), Some("<user1> on"));
        // The others learn of it when its connection has ended.
        room.leave(ids[2], true);
        assert_eq!(unread(&mut room, ids[1]), "<announce> <user3> is disconnected.\n");
    }

    #[test]
    fn there_is_room_again_once_it_was_taken_or_the_slow_one_has_gone() {
        for goes in [false, true] {
            let mut room = room();
            let (one, two) = (room.join("::1".into(), Framing::Line), room.join("::1".into(), Framing::Line));
            fall_behind(&mut room, one);
            // The slow one can still speak: it does not wait for itself.
            assert!(say(&mut room, two, "hello"));
            match goes {
                true => room.leave(two, true),
                false => assert!(unread(&mut room, two).len() > MOST_UNREAD),
            }
            assert!(!room.members[&one].wants_room);
            assert!(say(&mut room, one, "on"));
        }
    }

    #[test]
    fn announcements_alone_do_not_pile_up_for_ever() {
        let mut room = room();
        let deaf = room.join("::1".into(), Framing::Line);
        let mut most = 0;
        while !room.members[&deaf].is_out {
            let guest = room.join("::1".into(), Framing::Line);
            most = most.max(room.members[&deaf].unread.len());
            room.leave(guest, true);
        }
        assert!((MOST_UNREAD..3 * MOST_UNREAD).contains(&most), "{most}");
        assert_eq!(room.members[&deaf].unread.capacity(), 0);
    }

    #[test]
    fn a_newcomer_is_not_told_thousands_of_names() {
        let mut room = room();
        for _ in 0..MOST_NAMED + 7 {
            room.join("::1".into(), Framing::Line);
        }
        let last = room.join("::1".into(), Framing::Line);
        let told = unread(&mut room, last);
        assert!(told.ends_with("::1 as <user50>, and 7 others.\n"), "{told}");
        assert!(!told.contains("<user51>"), "{told}");
    }
}
