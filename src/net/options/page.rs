//! The page of the documentation that lists every socket option.
//!
//! Apart, and written from the table, so that the two cannot differ: a test compares them.

use std::fmt::Write;

use super::{Access, Level, OPTIONS, SocketOption, table};

/// The page `docs/options.md`, in Markdown.
pub fn options_page() -> String {
    let mut page = String::from(INTRODUCTION);
    for (level, title) in TITLES {
        let _ = write!(page, "\n## {title}: `{level}`\n\n");
        page.push_str(
            "| name | constant | sockets | value | | what it does |\n| --- | --- | --- | --- | --- | --- |\n",
        );
        for option in OPTIONS.iter().filter(|option| option.level == *level) {
            row(&mut page, option);
        }
    }
    page.push_str("\n## Other names\n\n| name | is |\n| --- | --- |\n");
    for (alias, name) in table::ALIASES {
        let _ = writeln!(page, "| `{alias}` | `{name}` |");
    }
    page
}

const INTRODUCTION: &str = "\
# Socket options

This page is written from the program's own table.

An option follows the address, as in `tcp:db:5432?nodelay&keepalive=30s&rcvbuf=256K`; the first is begun by a `?`, the
others by a `&`, and a shell wants the whole in quotes. Sizes take K, M and G (1024
each). Times take us, ms, s, m and h; a bare number is in seconds. A flag alone is on; `=on`, `=yes`, `=true`, `=1` and
`=off`, `=no`, `=false`, `=0` say so. `%26` stands for a `&`, as in any address. The name of C does as well:
`SO_RCVBUF=256K`. What the kernel made of a value is read back and may differ from what was asked for.

Any other option of the kernel can be set by its numbers: `LEVEL:NUMBER=VALUE`, where the value is an int, as in
`6:1=1`, or bytes, as in `1:13=x0100000005000000`.

*get* options can only be read, *set* options only be set; *take* options are cleared by reading, so that they are not
shown with the others. A name that is listed twice is one option to its user: the socket decides which it is.
";

const TITLES: &[(Level, &str)] = &[
    (Level::Socket, "Every domain"),
    (Level::Ip, "IPv4"),
    (Level::Ipv6, "IPv6"),
    (Level::Tcp, "TCP"),
    (Level::Udp, "UDP"),
    (Level::Vsock, "Virtual machines"),
];

fn row(page: &mut String, option: &SocketOption) {
    let SocketOption { name, constant, kind, scope, doc, source, .. } = option;
    let access = match option.access {
        Access::Get => "get",
        Access::Set => "set",
        Access::SetGet => "set, get",
        Access::Take => "take",
    };
    let value = kind.syntax();
    let _ = writeln!(page, "| `{name}` | `{constant}` | {scope} | {value} | {access} | {doc} | {source} |");
}

/// Fails unless `file` below the package's directory has `text`; rewrites it where `WILCO_WRITE_DOCS` is set.
#[cfg(test)]
pub(crate) fn assert_written(file: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("WILCO_WRITE_DOCS").is_some() {
        std::fs::write(&path, text).expect("the page is written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{file} is not up to date: run `WILCO_WRITE_DOCS=1 cargo test --lib _page`");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_page_is_up_to_date() {
        assert_written("docs/options.md", &options_page());
    }
}
