//! What is behind the `?` of an address.

use std::str::FromStr;

/// Names and values, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes it apart.
    ///
    /// # Errors
    /// If there is a name that means nothing here.
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, String> {
        let pairs = query
            .unwrap_or("")
            .split('&')
            .filter(|pair| !pair.is_empty());
        let decoded = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        let query = Self(decoded.collect());
        match query.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            Some((name, _)) => Err(format!(
                "there is no `{name}` here; there are: {}",
                known.join(", ")
            )),
            None => Ok(query),
        }
    }

    /// The last value of a name; an empty one is none, as forms send it.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter().rev();
        let found = pairs.find(|(found, _)| found == name);
        found
            .map(|(_, value)| &**value)
            .filter(|value| !value.is_empty())
    }

    /// A whole number.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let parse = |text: &str| {
            let number = text.parse();
            number.map_err(|_| format!("`{name}` must be a whole number, not `{text}`"))
        };
        self.text(name).map(parse).transpose()
    }

    /// `1` or `0`.
    pub(super) fn switch(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.text(name) {
            None => Ok(default),
            Some("1" | "true") => Ok(true),
            Some("0" | "false") => Ok(false),
            Some(text) => Err(format!("`{name}` must be 1 or 0, not `{text}`")),
        }
    }
}

/// Undoes `%2F` and `+`. What makes no sense stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match (first, behind) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = behind;
                }
                _ => bytes.push(b'%'),
            },
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_decoded_and_nonsense_stays() {
        for (text, decoded) in [
            ("10.0.0.0%2F8", "10.0.0.0/8"),
            ("a+b%20c", "a b c"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%C3%A4", "ä"),
            ("%ff", "\u{fffd}"),
            ("", ""),
        ] {
            assert_eq!(decode(text), decoded);
        }
    }

    #[test]
    fn what_means_nothing_is_an_error_that_says_what_does() {
        let known = ["limit", "color"];
        assert_eq!(
            Query::parse(Some("limt=3"), &known).unwrap_err(),
            "there is no `limt` here; there are: limit, color"
        );
        let query = Query::parse(Some("limit=3&color=1&&limit=five"), &known).unwrap();
        assert_eq!(query.switch("color", false), Ok(true));
        assert_eq!(
            query.number::<usize>("limit").unwrap_err(),
            "`limit` must be a whole number, not `five`"
        );
        assert!(Query::parse(None, &known).unwrap().text("limit").is_none());
        let empty = Query::parse(Some("limit="), &known).unwrap();
        assert_eq!(empty.number::<usize>("limit"), Ok(None));
    }
}
