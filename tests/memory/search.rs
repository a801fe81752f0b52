//! Looks for secrets in the memory of another process, by way of `/proc`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

/// So many bytes of a secret count as the secret: freed memory has its first bytes written over by the allocator.
const PIECE: usize = 16;

/// How often each is there: the number of copies of the piece that is there most often.
pub(crate) fn count(process: u32, needles: &[(&'static str, &str)]) -> io::Result<BTreeMap<&'static str, usize>> {
    let pieces: Vec<(&'static str, usize, &[u8])> = needles
        .iter()
        .flat_map(|(name, needle)| {
            needle.as_bytes().chunks_exact(PIECE).enumerate().map(|(at, piece)| (*name, at, piece))
        })
        .collect();
    let mut counts = vec![0; pieces.len()];
    let mut firsts = [false; 256];
    pieces.iter().for_each(|(.., piece)| firsts[usize::from(piece[0])] = true);
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let mut read = 0;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        // Where nothing can be written no secret is.
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut content = vec![0; (to - from) as usize];
        let Ok(()) = memory.read_exact_at(&mut content, from) else { continue };
        read += content.len();
        for start in 0..content.len().saturating_sub(PIECE - 1) {
            if !firsts[usize::from(content[start])] {
                continue;
            }
            for (count, (_, _, piece)) in counts.iter_mut().zip(&pieces) {
                if content[start] == piece[0] && content[start..start + PIECE] == **piece {
                    *count += 1;
                }
            }
        }
    }
    assert!(read > 1 << 20, "a process has more than {read} bytes of memory");
    let mut most = BTreeMap::new();
    for ((name, ..), count) in pieces.iter().zip(counts) {
        let most: &mut usize = most.entry(*name).or_default();
        *most = count.max(*most);
    }
    Ok(most)
}
