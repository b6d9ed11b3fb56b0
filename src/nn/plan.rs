//! Who computes what: sequences of a batch in groups that one thread takes, and that thread's buffers.

use std::cell::RefCell;

use super::kernels;
use super::layer::{Group, Workspace};

/// Tokens of a group: enough to fill the kernels, few enough that a group's activations stay in the cache.
const TOKENS: usize = 128;
/// The same on tiles, which are through with a group sooner than the next weights arrive, on CPUs with twice the cache.
const TOKENS_ON_TILES: usize = 256;

/// A batch's sequences in groups of whole sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    lengths: Vec<u32>,
    /// How many tokens of each sequence are looked at.
    keys: Vec<u32>,
    /// First sequence of each group, and the end.
    starts: Vec<usize>,
    /// First token of each group.
    tokens: Vec<usize>,
}

impl Plan {
    /// Groups of about 128 tokens, as for four threads, so that two have as much to do as well. The same batch gives the same
    /// groups on any number of threads, which training's sums rely on.
    pub fn fixed(offsets: &[u32]) -> Self {
        Self::with_tokens(offsets, 4, TOKENS)
    }
    /// Groups for `threads` threads: as many for each, and small ones rather than idle threads.
    pub fn balanced(offsets: &[u32], threads: usize) -> Self {
        Self::with_tokens(offsets, threads, if kernels::on_tiles() { TOKENS_ON_TILES } else { TOKENS })
    }
    fn with_tokens(offsets: &[u32], threads: usize, of_a_group: usize) -> Self {
        let tokens = offsets.last().map_or(0, |&t| t as usize);
        let groups = tokens.div_ceil(of_a_group).next_multiple_of(threads.max(1));
        Self::with_groups(offsets, groups.min(tokens.div_ceil(24).max(1)))
    }
    fn with_groups(offsets: &[u32], groups: usize) -> Self {
        let lengths: Vec<u32> = offsets.windows(2).map(|w| w[1] - w[0]).collect();
        let total = offsets.last().map_or(0, |&t| t as usize);
        let (mut starts, mut tokens) = (vec![0], vec![0]);
        for (sequence, &length) in lengths.iter().enumerate().skip(1) {
            let at = offsets[sequence] as usize;
            let cut = total * starts.len() / groups.max(1);
            // the boundary nearest to the cut
            if at + length as usize / 2 >= cut {
                starts.push(sequence);
                tokens.push(at);
            }
        }
        starts.push(lengths.len());
        Plan { keys: lengths.clone(), lengths, starts, tokens }
    }
    /// The same, with so many tokens of each sequence that are looked at; empty: all.
    pub fn with_keys(mut self, keys: &[u32]) -> Self {
        if !keys.is_empty() {
            self.keys = keys.to_vec();
        }
        self
    }
    /// Number of groups.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }
    /// True without a sequence.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }
    /// The groups in order.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let bounds = self.starts.windows(2).zip(&self.tokens);
        bounds.filter(|(w, _)| w[0] < w[1]).map(|(w, &first_token)| Group {
            lengths: &self.lengths[w[0]..w[1]],
            keys: &self.keys[w[0]..w[1]],
            first_sequence: w[0],
            first_token,
        })
    }
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::default();
}

/// Lends this thread's buffers, or fresh ones to a task that the thread took up while its own were lent.
pub fn with_workspace<T>(run: impl FnOnce(&mut Workspace) -> T) -> T {
    WORKSPACE.with(|workspace| match workspace.try_borrow_mut() {
        Ok(mut workspace) => run(&mut workspace),
        Err(_) => run(&mut Workspace::default()),
    })
}
