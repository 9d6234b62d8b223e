//! What to do when an assured delivery has ended and not all is delivered.
//!
//! Apart from what has happened, which the library says: here are the words of this program's arguments.

use crate::service;
use crate::service::replay::Replay;
use crate::wire::assured::Code;

/// What to do about a failure, if it is one of assured delivery and anything can be said.
pub(in crate::app) fn hint(error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref()? {
        service::Error::GaveUp(how) => match (&how.counts.spool, how.counts.waiting()) {
            (_, 0) => None,
            (Some(_), _) => Some("run it again, and it goes on".to_owned()),
            (None, _) => Some("with --spool DIR what is not acknowledged could be sent another time".to_owned()),
        },
        service::Error::LostSession(lost) if lost.moved.is_some() && lost.code != Code::TAKEN_OVER => {
            let then = match &lost.counts.spool {
                Some(_) => "with the right ones it goes on",
                None => "send again what must not be missing",
            };
            Some(format!("the addresses of one client have to lead to one store; {then}"))
        }
        service::Error::LostSession(lost) => Some(match (&lost.counts.spool, lost.code) {
            (None, Code::TAKEN_OVER) => "two clients cannot have one session".to_owned(),
            (None, _) => "send again what must not be missing; the server may have some of it".to_owned(),
            (Some(spool), Code::TAKEN_OVER) => {
                format!("is there a copy of {} that another client uses? One of the two must go", spool.display())
            }
            (Some(_), _) if Replay::is_of(&lost.counts) => {
                "with another --spool DIR it begins again; the server may get again what it had".to_owned()
            }
            (Some(_), _) => {
                "--lost-session=resend sends what waits in a new session (the server may get again what it had), \
                 --lost-session=skip keeps it among the dead letters"
                    .to_owned()
            }
        }),
        service::Error::SessionRefused { code: Code::NOT_ACCEPTABLE, .. } => {
            Some("a server with --store does; --require says the least that is wanted".to_owned())
        }
        service::Error::NotSpoken(_) => Some("leave --assured out for a server that only answers lines".to_owned()),
        service::Error::FilesUnfinished(_) => Some("the same command goes on with what the server has not".to_owned()),
        service::Error::NoFiles(_) => Some("one that is started with --save DIR does".to_owned()),
        service::Error::Spool(error) => error.hint(),
        _ => None,
    }
}
