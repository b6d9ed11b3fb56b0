//! What every kind of index is to the generation store: files in a folder, searched by number.

use super::Bm25;
use crate::Result;
use crate::ranker::{Hit, Input, Retriever};

/// One kind of index over numbered documents, as files in a folder. It knows nothing of commits, ids and deleted documents: the
/// generation store gives it an empty folder to write and opens it there. Documents are `0..n` in the order of building.
///
/// A kind has two functions besides, whose arguments differ: `write(dir, .., documents, settings) -> Result<()>` and
/// `open(dir, ..) -> Result<Self>`.
pub trait Engine: Send + Sync {
    /// How many documents it has.
    fn len(&self) -> usize;

    /// True without a document.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// For each query the `k` best documents, best first; of equal scores the lower number first. Fewer where fewer have anything
    /// in common with it, or where there are fewer.
    ///
    /// # Errors
    /// A file that is damaged; what the model refuses.
    fn search(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>>;
}

impl Engine for Bm25 {
    fn len(&self) -> usize {
        Bm25::len(self)
    }
    fn search(&self, queries: &[Input], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.retrieve(queries, k)
    }
}
