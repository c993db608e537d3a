//! Writes a made-up trace in the form of Mooncake's conversation trace, always the same for the
//! same arguments: `cargo run --release --example mooncake_trace -- 100000 1 > trace.jsonl` for
//! 100,000 requests at 1 a second.
//!
//! Its figures are like those that Mooncake's authors publish, and nothing is copied from there: a
//! prompt and its answer have about 6,700 tokens (420 KV blocks of 16) on average with a long tail,
//! and about half of a prompt's tokens have been in an earlier one. That comes from two sources:
//!
//! - every conversation begins with one of 256 shared documents, of which few are asked for often
//!   (Zipf);
//! - a later turn repeats the whole conversation and adds to it.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use vidur_ecs::base::RandomStream;

/// Tokens that a hash stands for.
const BLOCK: u32 = 512;
/// A longer prompt is not sent; its conversation is over.
const LONGEST_PROMPT: u32 = 120_000;
/// Conversations that may be gone on with at any time.
const OPEN: usize = 32;

fn main() -> ExitCode {
    let numbers: Vec<f64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let &[requests, qps] = numbers.as_slice() else {
        eprintln!("usage: mooncake_trace REQUESTS QPS");
        return ExitCode::from(2);
    };
    match write(&mut BufWriter::new(io::stdout().lock()), requests as u64, qps) {
        Ok(mean) => {
            eprintln!("{requests} requests of {mean:.0} tokens on average");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot write the trace: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One conversation so far.
#[derive(Clone)]
struct Conversation {
    /// Hashes of its full blocks.
    blocks: Vec<u64>,
    /// Its tokens, the last answer included.
    tokens: u32,
}

/// Writes the lines. Returns the mean of prompt and answer in tokens.
fn write(out: &mut impl Write, requests: u64, qps: f64) -> io::Result<f64> {
    let mut random = RandomStream::new(42, "trace");
    let mut hashes = 0_u64..;
    let documents: Vec<Conversation> = (0..256)
        .map(|_| {
            let blocks = lognormal(&mut random, 4.0, 1.0, 64) as usize;
            let tokens = blocks as u32 * BLOCK;
            Conversation { blocks: hashes.by_ref().take(blocks).collect(), tokens }
        })
        .collect();
    let popularity: Vec<f64> = (0..documents.len())
        .scan(0.0, |sum, rank| {
            *sum += 1.0 / (rank as f64 + 1.0);
            Some(*sum)
        })
        .collect();
    let all = popularity.last().copied().unwrap_or(0.0);
    let mut open: Vec<Conversation> = Vec::new();
    let (mut seconds, mut sum) = (0.0, 0_u64);
    for _ in 0..requests {
        seconds += random.exponential() / qps;
        // Two in five requests go on with a conversation.
        let later = !open.is_empty() && random.uniform() < 0.4;
        let mut talk = if later {
            open.swap_remove(random.below(open.len() as u64) as usize)
        } else {
            let drawn = random.uniform() * all;
            documents[popularity.partition_point(|&sum| sum <= drawn)].clone()
        };
        let prompt = talk.tokens + lognormal(&mut random, 1240.0, 1.2, LONGEST_PROMPT / 2);
        let answer = lognormal(&mut random, 130.0, 0.9, 2_000);
        // A block that is not full is nobody else's, so it has a hash of its own each time.
        let full = (prompt / BLOCK) as usize;
        let missing = full.saturating_sub(talk.blocks.len());
        talk.blocks.extend(hashes.by_ref().take(missing));
        let rest = (!prompt.is_multiple_of(BLOCK)).then(|| hashes.next()).flatten();
        let ids: Vec<String> =
            talk.blocks.iter().copied().chain(rest).map(|h| h.to_string()).collect();
        writeln!(
            out,
            "{{\"timestamp\": {:.0}, \"input_length\": {prompt}, \"output_length\": {answer}, \
             \"hash_ids\": [{}]}}",
            (seconds * 1e3_f64).floor(),
            ids.join(", ")
        )?;
        sum += u64::from(prompt + answer);
        talk.tokens = prompt + answer;
        // The answer's tokens have no hashes yet: those of the next turn's prompt name them.
        if talk.tokens < LONGEST_PROMPT / 2 {
            open.push(talk);
        }
        if open.len() > OPEN {
            let forgotten = random.below(open.len() as u64) as usize;
            open.swap_remove(forgotten);
        }
    }
    out.flush()?;
    Ok(sum as f64 / requests.max(1) as f64)
}

/// A whole number with this median, 1 to `most`; `sigma` is that of the logarithm.
fn lognormal(random: &mut RandomStream, median: f64, sigma: f64, most: u32) -> u32 {
    let value = median * libm::exp(sigma * random.normal());
    (value as u32).clamp(1, most)
}
