//! Dates as the bytes of a real-time clock's registers.
//!
//! The calendar is the proleptic Gregorian one, as the Unix epoch has it.

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// Bits of register B that say how the bytes are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Binary, not two decimal digits.
    pub binary: bool,
    /// Hours 0 to 23, not 1 to 12 with bit 7 for the afternoon.
    pub hours_24: bool,
}

impl Format {
    /// A number below 100 as a byte.
    pub fn encode(self, number: u8) -> u8 {
        if self.binary { number } else { (number / 10) << 4 | (number % 10) }
    }

    /// A byte as a number, whatever it is; more than 99 where it is none.
    pub fn decode(self, byte: u8) -> u8 {
        if self.binary { byte } else { (byte >> 4) * 10 + (byte & 15) }
    }

    /// An hour of the day as a byte.
    pub fn encode_hour(self, hour: u8) -> u8 {
        if self.hours_24 {
            return self.encode(hour);
        }
        let twelve = if hour.is_multiple_of(12) { 12 } else { hour % 12 };
        self.encode(twelve) | if hour >= 12 { 0x80 } else { 0 }
    }

    /// A byte as an hour of the day.
    pub fn decode_hour(self, byte: u8) -> u8 {
        if self.hours_24 {
            return self.decode(byte);
        }
        self.decode(byte & 0x7f) % 12 + if byte & 0x80 != 0 { 12 } else { 0 }
    }
}

/// A date and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// 0 to 59.
    pub second: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 1 (Sunday) to 7.
    pub weekday: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 to 12.
    pub month: u8,
    /// 0 to 9999.
    pub year: u16,
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from 1 January of year 0 to that of `year`, 0 or later.
fn days_before_year(year: i64) -> i64 {
    // The years that end before it: every fourth is a leap year, but of full centuries every fourth.
    let leaps = |y: i64| (y + 3) / 4 - (y + 99) / 100 + (y + 399) / 400;
    365 * year + leaps(year)
}

fn month_days(month: u8, year: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from year 0 to the Unix epoch, 1 January 1970.
const EPOCH: i64 = 719_528;

impl Date {
    /// Of `seconds` since the Unix epoch; what is before year 0 or after 9999 is their first or last
    /// second.
    pub fn from_seconds(seconds: i64) -> Self {
        let last = days_before_year(10_000) * DAY - 1;
        let seconds = seconds.saturating_add(EPOCH * DAY).clamp(0, last);
        let (days, rest) = (seconds / DAY, seconds % DAY);
        // At most one year too late, as no year is shorter than the average by a day.
        let guess = days * 400 / 146_097;
        let year = [guess + 1, guess, guess - 1].into_iter().find(|&y| y >= 0 && days_before_year(y) <= days);
        let year = year.unwrap_or(0);
        let mut day = days - days_before_year(year);
        let mut month = 1;
        while month < 12 && day >= month_days(month, year) {
            day -= month_days(month, year);
            month += 1;
        }
        Date {
            second: (rest % 60) as u8,
            minute: (rest / 60 % 60) as u8,
            hour: (rest / 3600) as u8,
            // 1 January of year 0 was a Saturday.
            weekday: ((days + 6) % 7 + 1) as u8,
            day: day as u8 + 1,
            month,
            year: year as u16,
        }
    }

    /// Seconds since the Unix epoch. Fields out of their range count on; the weekday does not matter.
    pub fn to_seconds(self) -> i64 {
        let year = i64::from(self.year);
        let months: i64 = (1..self.month.min(13)).map(|month| month_days(month, year)).sum();
        let days = days_before_year(year) + months + i64::from(self.day) - 1 - EPOCH;
        days * DAY + i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_everybody_knows() {
        let date = |seconds| {
            let d = Date::from_seconds(seconds);
            (d.year, d.month, d.day, d.hour, d.minute, d.second, d.weekday)
        };
        assert_eq!(date(0), (1970, 1, 1, 0, 0, 0, 5));
        assert_eq!(date(951_782_400), (2000, 2, 29, 0, 0, 0, 3));
        assert_eq!(date(1_700_000_000), (2023, 11, 14, 22, 13, 20, 3));
        assert_eq!(date(4_107_542_400), (2100, 3, 1, 0, 0, 0, 2));
        assert_eq!(date(-1), (1969, 12, 31, 23, 59, 59, 4));
        assert_eq!((date(i64::MIN).0, date(i64::MAX).0), (0, 9999));
    }

    #[test]
    fn every_day_of_ten_thousand_years_comes_back() {
        let mut before = Date::from_seconds(-EPOCH * DAY - DAY);
        for day in -EPOCH..days_before_year(10_000) - EPOCH {
            let date = Date::from_seconds(day * DAY + 3661);
            assert_eq!(date.to_seconds(), day * DAY + 3661);
            let follows = date.day == before.day + 1 || date.day == 1 && before.day >= 28 || day == -EPOCH;
            assert!(follows, "{before:?} {date:?}");
            before = date;
        }
    }

    #[test]
    fn bytes_of_each_format() {
        let bcd = Format { binary: false, hours_24: false };
        for (hour, byte) in [(0, 0x12), (1, 0x01), (11, 0x11), (12, 0x92), (13, 0x81), (23, 0x91)] {
            assert_eq!((bcd.encode_hour(hour), bcd.decode_hour(byte)), (byte, hour));
        }
        let binary = Format { binary: true, hours_24: true };
        assert_eq!((bcd.encode(59), binary.encode(59), binary.encode_hour(23)), (0x59, 59, 23));
        assert_eq!((bcd.decode(0x59), binary.decode(0x59), bcd.decode(0xff)), (59, 0x59, 165));
    }
}
