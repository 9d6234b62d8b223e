//! `Secrets`: who somebody is to NATS, said beside the address, such as in the environment: what is on a command line can be read by everybody on the machine.
//!
//! Apart from the address, because where secrets come from is another's business.

use std::fmt;
use std::path::PathBuf;

use super::JetStreamAddress;
use crate::net::Error;

/// Who connects, as far as the address does not say it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Secrets {
    /// A user.
    pub user: Option<String>,
    /// The password of this user, or of the one in the address.
    pub password: Option<String>,
    /// A token, which stands for user and password.
    pub token: Option<String>,
    /// A file with the credentials of a user (`.creds`).
    pub creds: Option<PathBuf>,
}

impl Secrets {
    /// Adds to the address what it does not say itself.
    ///
    /// # Errors
    /// There is a password without a user, or more than one way to say who it is.
    pub fn complete(&self, address: &mut JetStreamAddress) -> Result<(), Error> {
        let Self { user, password, token, creds } = self;
        let wrong = |what: &str| Error::usage(format!("the store {address}: {what}"));
        match (&address.user, password) {
            _ if address.creds.is_some() => return Ok(()),
            // What stands alone in the address is a user once there is a password for it.
            (Some((user, None)), Some(password)) => {
                address.user = Some((user.clone(), Some(password.clone())));
                return Ok(());
            }
            (Some(_), _) => return Ok(()),
            (None, Some(_)) if user.is_none() => {
                return Err(wrong("there is a password, and no user").hinting("set WILCO_NATS_USER, too"));
            }
            (None, None) if user.is_some() => {
                return Err(wrong("there is a user, and no password").hinting("set WILCO_NATS_PASSWORD, too"));
            }
            (None, _) => {}
        }
        if usize::from(user.is_some()) + usize::from(token.is_some()) + usize::from(creds.is_some()) > 1 {
            return Err(wrong("a user with a password, a token or a file of credentials: only one of them can be it"));
        }
        address.creds.clone_from(creds);
        address.user = match (user, token) {
            (Some(user), _) => Some((user.clone(), password.clone())),
            (None, token) => token.clone().map(|token| (token, None)),
        };
        Ok(())
    }
}

impl fmt::Debug for Secrets {
    /// Without them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_comes_first() {
        let some = |text: &str| Some(text.to_owned());
        let ann = Secrets { user: some("ann"), password: some("secret"), ..Secrets::default() };
        let password = Secrets { password: some("secret"), ..Secrets::default() };
        let user = Secrets { user: some("ann"), ..Secrets::default() };
        let token = Secrets { token: some("t0ken"), ..Secrets::default() };
        let creds = Secrets { creds: Some("/c".into()), ..Secrets::default() };
        let two = Secrets { token: some("t0ken"), ..ann.clone() };
        let pair = |user: &str, password: &str| Ok((Some((user.to_owned(), some(password))), None));
        for (text, secrets, becomes) in [
            ("nats://h/X", &Secrets::default(), Ok((None, None))),
            ("nats://h/X", &ann, pair("ann", "secret")),
            ("nats://bob:else@h/X", &ann, pair("bob", "else")),
            ("nats://bob@h/X", &password, pair("bob", "secret")),
            ("nats://bob@h/X", &token, Ok((Some(("bob".to_owned(), None)), None))),
            ("nats://h/X", &token, Ok((Some(("t0ken".to_owned(), None)), None))),
            ("nats://h/X", &creds, Ok((None, Some(PathBuf::from("/c"))))),
            ("nats://h/X?creds=/d", &ann, Ok((None, Some(PathBuf::from("/d"))))),
            ("nats://h/X", &password, Err("no user")),
            ("nats://h/X", &user, Err("no password")),
            ("nats://h/X", &two, Err("only one of them")),
        ] {
            let mut address: JetStreamAddress = text.parse().expect("an address");
            match (secrets.complete(&mut address), becomes) {
                (Ok(()), Ok(becomes)) => assert_eq!((address.user, address.creds), becomes, "{text}"),
                (Err(error), Err(what)) => assert!(error.to_string().contains(what), "{error}"),
                (completed, becomes) => panic!("{text}: {completed:?}, not {becomes:?}"),
            }
        }
    }
}
