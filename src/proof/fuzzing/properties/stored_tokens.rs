//! Tokens that are stored, and files that are not tokens.

use super::*;
use crate::Stored;

fn token() -> impl Strategy<Value = Token> {
    let refresh = prop_oneof![Just(String::new()), "[ -~]{1,40}", any::<String>()];
    let life = prop_oneof![Just(0), 1..10_000_u64, any::<u64>()];
    ("[a-zA-Z0-9._~+/-]{1,40}={0,2}", refresh, prop::option::of(any::<String>()), life).prop_map(
        |(access, refresh, scope, life)| {
            let token = Token::new(access).unwrap().with_refresh_token(refresh);
            let token = token.with_expires_in(Duration::from_millis(life));
            match scope {
                Some(scope) => token.with_scope(scope),
                None => token,
            }
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_token_comes_back_from_its_stored_text(
        token in token(),
        // Up to five centuries, in milliseconds: a clock's scale ends in the sixth.
        at in prop_oneof![0..1_000_000_u64, 0..500 * 365 * 86_400_000_u64],
        // Further away, a number of JSON has no room for a millisecond.
        wall in prop::option::of(0..=1_u64 << 53),
    ) {
        let (now, wall) = (Tick::from_zero(Duration::from_millis(at)), wall.map(Duration::from_millis));
        let mut token = token;
        token.life = Policy::new().with_jitter_seed(7).life(&token, now, now, &History::default(), wall);
        let stored = Stored::of(&token, now, wall);
        super::super::stored::assert_comes_back(&stored, &YARDSTICK);
        let back = Stored::from_text(&stored.to_text()).unwrap().to_token().unwrap();
        prop_assert_eq!((back.secret(), back.refresh_secret()), (token.secret(), token.refresh_secret()));
        prop_assert_eq!(back.scope(), token.scope());
        prop_assert_eq!((back.expires_in(), back.received_at()), (token.expires_in(), wall));
        super::stored(stored.to_text().as_bytes(), &YARDSTICK);
    }
}

#[cfg(all(
    feature = "file-store",
    any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple", windows)
))]
mod files {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;
    use crate::store::text::{self, Unreadable};
    use crate::{FileStore, TokenStore as _};

    /// A directory for one test, gone at its end.
    struct Scratch(PathBuf);

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _litter = fs::remove_dir_all(&self.0);
        }
    }

    proptest! {
        // Each one is a handful of system calls.
        #![proptest_config(ProptestConfig { cases: 64, ..config() })]

        #[test]
        fn a_file_is_a_token_or_kept_aside_whole(Input(text) in damaged(seeds("stored"))) {
            let scratch = Scratch(std::env::temp_dir().join(format!("ureq-auth-{}", std::process::id())));
            fs::create_dir_all(&scratch.0).unwrap();
            let path = scratch.0.join("token");
            let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
            file.unwrap().write_all(&text).unwrap();

            let loaded = FileStore::new(&path).load();
            let (kept, aside) = (fs::read(&path).ok(), fs::read(scratch.0.join("token.corrupt-1")).ok());
            let (here, there) = match text::read(&text) {
                Ok(stored) => {
                    prop_assert!(loaded.unwrap().is_some_and(|loaded| loaded.is_same_as(&stored)));
                    (Some(text), None)
                }
                Err(Unreadable::Later(_)) => {
                    prop_assert!(loaded.unwrap_err().to_string().contains("written by a later program"));
                    (Some(text), None)
                }
                Err(Unreadable::Foreign(why)) => {
                    prop_assert!(loaded.unwrap_err().to_string().contains(why));
                    (None, Some(text))
                }
            };
            prop_assert_eq!((kept, aside), (here, there));
        }
    }
}
