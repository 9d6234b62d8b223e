//! `Machine`: what decides in a delivery: the sender over streams and packets, or the one over datagrams that may get lost.
//!
//! Apart from both, which say the same in other words: here those words are one type.

use std::time::Instant;

use crate::wire::assured::datagram::{ClientPacket, DatagramConfig, DatagramSender, ServerPacket};
use crate::wire::assured::sender::{Input, Output, SenderConfig, Start, Tally};
use crate::wire::assured::{ClientFrame, Run, Sender, Series, ServerFrame};

/// The sender of a delivery.
#[derive(Debug)]
pub(super) enum Machine {
    Frames(Box<Sender>),
    Datagrams(Box<DatagramSender>),
}

/// What a client says.
#[derive(Debug)]
pub(super) enum Said<'a> {
    Frame(ClientFrame<'a>),
    Packet(ClientPacket<'a>),
}

/// What a server says.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    Frame(ServerFrame<'a>),
    Packet(ServerPacket<'a>),
    /// Replies whose numbers follow each other, which are many frames.
    Replies(Run),
}

/// How a client and its server speak with each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Speech {
    /// By frames, none of which gets lost without the connection.
    Frames,
    /// By datagrams over a network.
    Datagrams,
}

impl Machine {
    pub(super) fn new(speech: Speech, config: SenderConfig, start: Start, now: Instant) -> Self {
        match speech {
            Speech::Frames => Self::Frames(Box::new(Sender::new(config, start, now))),
            Speech::Datagrams => {
                Self::Datagrams(Box::new(DatagramSender::new(DatagramConfig::new(config), start, now)))
            }
        }
    }

    pub(super) fn speech(&self) -> Speech {
        match self {
            Self::Frames(_) => Speech::Frames,
            Self::Datagrams(_) => Speech::Datagrams,
        }
    }

    pub(super) fn handle(&mut self, input: Input<Heard<'_>>, now: Instant) {
        match self {
            Self::Frames(sender) => {
                if let Input::Frame(Heard::Replies(run)) = input {
                    return sender.replies(run, now);
                }
                let frame = |heard| if let Heard::Frame(frame) = heard { Some(frame) } else { None };
                if let Some(input) = heard(input, frame) {
                    sender.handle(input, now);
                }
            }
            Self::Datagrams(sender) => {
                let packet = |heard| if let Heard::Packet(packet) = heard { Some(packet) } else { None };
                if let Some(input) = heard(input, packet) {
                    sender.handle(input, now);
                }
            }
        }
    }

    pub(super) fn poll(&mut self, now: Instant) -> Output<'_, Said<'_>> {
        match self {
            Self::Frames(sender) => said(sender.poll(now), Said::Frame),
            Self::Datagrams(sender) => said(sender.poll(now), Said::Packet),
        }
    }

    /// The same without anything that is to be sent. Datagrams for which there is no room are as good as lost: of them nothing waits.
    pub(super) fn poll_events(&mut self, now: Instant) -> Output<'_, Said<'_>> {
        match self {
            Self::Frames(sender) => said(sender.poll_events(now), Said::Frame),
            Self::Datagrams(sender) => said(sender.poll(now), Said::Packet),
        }
    }

    /// The messages that would come next if one was said just now, no more once there are `enough` bytes. Datagrams go one by one.
    pub(super) fn series(&mut self, enough: u64) -> Series<'_> {
        match self {
            Self::Frames(sender) => sender.series(enough),
            Self::Datagrams(_) => Series::default(),
        }
    }

    pub(super) fn wants(&self) -> Option<u64> {
        match self {
            Self::Frames(sender) => sender.wants(),
            Self::Datagrams(sender) => sender.wants(),
        }
    }

    /// Whether more of what a server has said may be handled before the next is asked for that is to be done: so the answers of a read are told together.
    pub(super) fn takes_more(&self) -> bool {
        match self {
            Self::Frames(sender) => sender.wants_input(),
            Self::Datagrams(_) => false,
        }
    }

    pub(super) fn tally(&self) -> Tally {
        match self {
            Self::Frames(sender) => sender.tally(),
            Self::Datagrams(sender) => sender.tally(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Frames(sender) => sender.is_open(),
            Self::Datagrams(sender) => sender.is_open(),
        }
    }
}

impl Said<'_> {
    /// The number of the message that it is, if it is one.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Frame(ClientFrame::Message { number, .. }) | Self::Packet(ClientPacket::Message { number, .. }) => {
                Some(*number)
            }
            _ => None,
        }
    }

    /// Appends it as it goes over a connection.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Frame(frame) => frame.encode(out),
            Self::Packet(packet) => packet.encode(out),
        }
    }
}

fn heard<F, G>(input: Input<F>, hear: impl FnOnce(F) -> Option<G>) -> Option<Input<G>> {
    Some(match input {
        Input::Frame(frame) => Input::Frame(hear(frame)?),
        Input::Accepted(run) => Input::Accepted(run),
        Input::Assigned(next) => Input::Assigned(next),
        Input::NoMore => Input::NoMore,
        Input::Connected => Input::Connected,
        Input::NotConnected(reason) => Input::NotConnected(reason),
        Input::Broken(reason) => Input::Broken(reason),
        Input::Disconnected(reason) => Input::Disconnected(reason),
        Input::Checksum(own) => Input::Checksum(own),
    })
}

fn said<'a, F, G>(output: Output<'a, F>, say: impl FnOnce(F) -> G) -> Output<'a, G> {
    match output {
        Output::Send(frame) => Output::Send(say(frame)),
        Output::Connect { elsewhere } => Output::Connect { elsewhere },
        Output::Disconnect => Output::Disconnect,
        Output::Checksum(number) => Output::Checksum(number),
        Output::Opened { server, level } => Output::Opened { server, level },
        Output::Refused { number, code, reason, body } => Output::Refused { number, code, reason, body },
        Output::Replies(run) => Output::Replies(run),
        Output::Final { through, checksum } => Output::Final { through, checksum },
        Output::Lost { reason, again } => Output::Lost { reason, again },
        Output::PutOff { code, reason, after } => Output::PutOff { code, reason, after },
        Output::Stop(reason) => Output::Stop(reason),
        Output::Done => Output::Done,
        Output::Wait(due) => Output::Wait(due),
    }
}
