use http::HeaderValue;

/// A field's value in decimal digits, in one allocation of its size: `HeaderValue::from` makes two, and buffers.
pub fn decimal(number: u64) -> HeaderValue {
    // Digits are a legal value.
    HeaderValue::from_str(itoa::Buffer::new().format(number)).unwrap_or_else(|_| HeaderValue::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits() {
        for (number, text) in [(0, "0"), (1024, "1024"), (u64::MAX, "18446744073709551615")] {
            assert_eq!(decimal(number), text);
        }
    }
}
