//! Claims as an issuer writes them.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::*;
use crate::jwt::Times;

/// A claim about time as JSON, and what it says.
fn claim() -> impl Strategy<Value = (Option<String>, Option<Duration>)> {
    // As an integer every time up to 2^53 is exact; a quarter of a second is, while all its digits fit into that.
    let seconds = (0..53_u32, any::<u64>()).prop_map(|(shift, bits)| bits >> 11 >> shift);
    prop_oneof![
        1 => Just((None, None)),
        1 => Just((Some("null".to_owned()), None)),
        3 => seconds.clone().prop_map(|seconds| (Some(seconds.to_string()), Some(Duration::from_secs(seconds)))),
        1 => seconds.prop_map(|seconds| {
            let time = Duration::from_secs(seconds >> 10) + Duration::from_millis(250);
            (Some(format!("{}.25", seconds >> 10)), Some(time))
        }),
    ]
}

fn other() -> impl Strategy<Value = &'static str> {
    select(vec![r#""sub":"exp""#, r#""aud":["a",{"exp":1}]"#, r#""act":{"iat":[null,-1e9]}"#, r#""":"\"}\u00e4""#])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn times_come_out_as_they_went_in_whatever_stands_around_them(
        times in [claim(), claim(), claim()],
        others in vec((any::<Index>(), other()), 0..4),
        comma in select(vec![",", " ,\n"]),
    ) {
        let mut members = Vec::new();
        for (name, (text, _)) in ["exp", "iat", "nbf"].iter().zip(&times) {
            members.extend(text.as_ref().map(|text| format!("\"{name}\" : {text}")));
        }
        for (place, other) in others {
            members.insert(place.index(members.len() + 1), other.to_owned());
        }
        let claims = format!("{{{}}}", members.join(comma));
        let read = Times::read(&format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(&claims))).unwrap();
        prop_assert_eq!([read.exp, read.iat, read.nbf], times.map(|(_, time)| time), "{}", claims);
        jwt(claims.as_bytes(), &YARDSTICK);
    }

    #[test]
    fn a_jwt_of_any_lifetime_is_planned(exp in any::<f64>(), iat in any::<f64>()) {
        jwt(format!("{{\"exp\":{:e},\"iat\":{:e}}}", exp.abs(), iat.abs()).as_bytes(), &YARDSTICK);
        jwt(format!("{{\"exp\":{:e}}}", exp.abs()).as_bytes(), &YARDSTICK);
    }
}
