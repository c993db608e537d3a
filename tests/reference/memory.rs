//! The KV blocks of one replica, and which prefixes are in them.

use std::collections::{BTreeMap, VecDeque};

use vidur_ecs::workload::NewRequest;

/// The name of a block's tokens and of all tokens before them.
pub type Name = usize;

#[derive(Clone, Default)]
struct Block {
    holders: u32,
    /// What it is found by, in use or free.
    name: Option<Name>,
}

pub struct Memory {
    blocks: Vec<Block>,
    /// Blocks that nobody holds: those that were never used, then the least recently used.
    free: VecDeque<usize>,
    caching: bool,
    /// Whether freed blocks without a name are reused first.
    unnamed_first: bool,
    /// The blocks with a name, in the order in which they got it.
    by_name: BTreeMap<Name, Vec<usize>>,
}

impl Memory {
    pub fn new(blocks: u32, caching: bool, unnamed_first: bool) -> Memory {
        let blocks = blocks as usize;
        Memory {
            blocks: vec![Block::default(); blocks],
            free: (0..blocks).collect(),
            caching,
            unnamed_first,
            by_name: BTreeMap::new(),
        }
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }

    pub fn held(&self) -> usize {
        self.blocks.len() - self.free.len()
    }

    pub fn is_held(&self, block: usize) -> bool {
        self.blocks[block].holders > 0
    }

    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    pub fn caching(&self) -> bool {
        self.caching
    }

    /// The blocks with these names, up to the first that is not there. Of several with the same
    /// name the one that has had it longest.
    pub fn look_up(&self, names: &[Name]) -> Vec<usize> {
        names.iter().map_while(|name| self.by_name.get(name).map(|blocks| blocks[0])).collect()
    }

    /// Hands out free blocks, of which there are enough. What was in them is gone.
    pub fn take(&mut self, count: usize) -> Vec<usize> {
        let taken: Vec<usize> = self.free.drain(..count).collect();
        for &block in &taken {
            self.blocks[block].holders = 1;
            self.lose_name(block);
        }
        taken
    }

    /// One more request holds a block that was found by its name.
    pub fn share(&mut self, block: usize) {
        self.free.retain(|&free| free != block);
        self.blocks[block].holders += 1;
    }

    /// A request gives its blocks back, the last first. They keep their names.
    pub fn give_back(&mut self, table: Vec<usize>) {
        for block in table.into_iter().rev() {
            self.blocks[block].holders -= 1;
            if self.blocks[block].holders > 0 {
                continue;
            }
            match self.unnamed_first && self.blocks[block].name.is_none() {
                true => self.free.push_front(block),
                false => self.free.push_back(block),
            }
        }
    }

    /// A block is full now.
    pub fn give_name(&mut self, block: usize, name: Name) {
        if self.caching && self.blocks[block].name.is_none() {
            self.blocks[block].name = Some(name);
            self.by_name.entry(name).or_default().push(block);
        }
    }

    /// A block is not found by its name any more.
    fn lose_name(&mut self, block: usize) {
        let Some(name) = self.blocks[block].name.take() else { return };
        if let Some(blocks) = self.by_name.get_mut(&name) {
            blocks.retain(|&other| other != block);
            if blocks.is_empty() {
                self.by_name.remove(&name);
            }
        }
    }
}

/// Whose token, and which one of them: what two requests have in common is equal.
type Token = (Owner, u64, u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Owner {
    TokenSpan,
    Prompt,
    Answer,
}

/// Names of blocks, one for each different sequence of tokens up to the end of a full block.
#[derive(Default)]
pub struct Names(BTreeMap<(Option<Name>, Vec<Token>), Name>);

impl Names {
    /// The names of a request's full blocks, answer included.
    pub fn of(&mut self, request: &NewRequest, block_size: u32) -> Vec<Name> {
        let mut parent = None;
        tokens(request)
            .chunks_exact(block_size as usize)
            .map(|block| {
                let next = self.0.len();
                let name = *self.0.entry((parent, block.to_vec())).or_insert(next);
                parent = Some(name);
                name
            })
            .collect()
    }
}

fn tokens(request: &NewRequest) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let content = request.content.as_deref();
    for span in content.iter().flat_map(|content| content.prompt.iter()) {
        tokens.extend((0..span.tokens).map(|i| (Owner::TokenSpan, span.id, i)));
    }
    tokens.truncate(request.prompt_tokens as usize);
    let rest = request.prompt_tokens - tokens.len() as u32;
    tokens.extend((0..rest).map(|i| (Owner::Prompt, request.id, i)));
    let answer = match content.and_then(|content| content.answer) {
        Some(id) => (Owner::TokenSpan, id),
        None => (Owner::Answer, request.id),
    };
    tokens.extend((0..request.output_tokens).map(|i| (answer.0, answer.1, i)));
    tokens
}
