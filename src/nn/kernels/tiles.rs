//! Products of bf16 and int8 on tiles (AMX): eight registers of 16 rows with 64 bytes each, and one instruction that adds
//! sixteen steps to 16 x 16 sums.
//!
//! Sixteen left rows are an A tile of sixteen units a row; sixteen steps of a panel are two B tiles side by side, a row every
//! 128 bytes. A block of the result is 32 rows by the 32 columns of a panel: four tiles of sums, two of A and two of B, which
//! is all there are.
//!
//! A sum takes the whole sixteens of its steps on tiles, then the steps left over on lanes, one by one, from what the tiles
//! gave. So its order depends on the number of steps alone and a row has the same bits in any batch. Sums of int8 are exact
//! and equal those of every unit; bf16's even and odd values have running sums of their own within sixteen steps, so its
//! bits differ from the other units'.
//!
//! The instructions are methods of [`Tiles`], because the tests run them on emulated tiles where the CPU has none. They are
//! the text [`program`], which is assembled and which the emulator reads.
//!
//! What counts is where operands come from: a panel and 32 left rows of 384 values fill the first-level cache. So left rows are
//! loaded with a hint to leave no copy there (`tileloaddt1`: 35 % faster on Emerald Rapids), and where many panels meet them,
//! they are first copied in the order of tiles (10 %). The lanes' part of a block (the steps left over, scales, bias) is done
//! between the steps of the next block, and so the next panel is fetched little by little (5 %).

#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is the body of an unsafe fn, which hands its own contract on"
)]

use std::cell::RefCell;
use std::mem::MaybeUninit;

use super::gemm::{self, ADD, BF16_OUT, Columns, Product, WIDTH, WRITE, dot, finish};
use super::lanes::Lanes;

/// Rows of a tile, and units in a row of it.
const SIDE: usize = 16;
/// Rows of a block.
const ROWS: usize = 2 * SIDE;
/// Words of a block's left side in sixteen steps.
const LEFT: usize = ROWS * SIDE;
/// Left rows that stay in the second-level cache while all panels pass by, in bytes: half of what CPUs with tiles have.
const LEFT_BYTES: usize = 1 << 20;
/// From so many panels on left rows are copied in the order of tiles.
const PANELS: usize = 6;

/// What LDTILECFG reads: the shapes of the eight tiles.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes in a row; only eight of sixteen tiles are there.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Config {
    /// For blocks of `rows`, 1 to 32, as [`program`] names the tiles. The lower half of a block has always a row, for a tile
    /// without one is an error; below 17 rows it is the first row again, and nobody looks at its sums.
    pub(super) fn of(rows: usize) -> Config {
        let (upper, lower) = (rows.min(SIDE) as u8, rows.saturating_sub(SIDE).max(1) as u8);
        let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        config.row_bytes[..8].fill(64);
        config.rows[..8].copy_from_slice(&[upper, upper, lower, lower, upper, lower, 16, 16]);
        config
    }
}

/// The sums of a block, row by row.
#[repr(C, align(64))]
pub(super) struct Sums([[u32; WIDTH]; ROWS]);

/// What [`program`] works on.
pub(super) struct Block {
    /// The first row, and the first row of the lower half.
    pub left: *const u32,
    pub below: *const u32,
    /// Bytes from one left row to the next, and from sixteen steps of a left row to the next sixteen.
    pub stride: usize,
    pub next: usize,
    /// Bytes from one step of a panel (or row of sums) to the next.
    pub width: usize,
    pub panel: *const u32,
    pub sums: *mut Sums,
}

impl Block {
    /// Where the operands of a sixteen of steps are: `left`, `below` and `panel`.
    pub(super) fn at(&self, sixteen: usize) -> [*const u32; 3] {
        let left = sixteen * self.next;
        let panel = sixteen * SIDE * self.width;
        [self.left.wrapping_byte_add(left), self.below.wrapping_byte_add(left), self.panel.wrapping_byte_add(panel)]
    }
}

/// The instructions of tiles. Their state belongs to the thread, and nothing else in this program uses them.
///
/// # Safety
/// Every method needs a CPU (or an emulator) with tiles; all but the first also a configuration.
pub(super) unsafe trait Tiles: Default {
    /// Gives the tiles their shapes, and zeroes them.
    unsafe fn configure(&mut self, config: &Config);
    /// Begins a block: its sums are zero.
    unsafe fn begin(&mut self);
    /// Adds sixteens of steps `first..first + count`, at least one, to the sums; reads the configured rows of `block`.
    unsafe fn steps<const KIND: u8>(&mut self, block: &Block, first: usize, count: usize);
    /// Writes the sums.
    unsafe fn end(&mut self, block: &Block);
    /// Gives the tiles up: a thread that holds some is dearer to switch.
    unsafe fn release(&mut self);
}

/// The instructions of [`Tiles`], in Intel's syntax: the one that `steps` names adds A (second operand) times B (third) to the
/// first. Registers are named as the fields of [`Block`].
macro_rules! program {
    (begin) => {
        "tilezero tmm0\ntilezero tmm1\ntilezero tmm2\ntilezero tmm3"
    };
    (steps $dot:literal) => {
        concat!(
            "2:\n",
            "tileloaddt1 tmm4, [{left} + {stride}*1]\n",
            "tileloadd tmm6, [{panel} + {width}*1]\n",
            "tileloadd tmm7, [{panel} + {width}*1 + 64]\n",
            "tileloaddt1 tmm5, [{below} + {stride}*1]\n",
            $dot,
            " tmm0, tmm4, tmm6\n",
            $dot,
            " tmm1, tmm4, tmm7\n",
            $dot,
            " tmm2, tmm5, tmm6\n",
            $dot,
            " tmm3, tmm5, tmm7\n",
            "add {left}, {next}\n",
            "add {below}, {next}\n",
            "add {panel}, 2048\n",
            "dec {count}\n",
            "jnz 2b",
        )
    };
    (end) => {
        concat!(
            "tilestored [{sums} + {width}*1], tmm0\n",
            "tilestored [{sums} + {width}*1 + 64], tmm1\n",
            "tilestored [{sums} + {width}*1 + 2048], tmm2\n",
            "tilestored [{sums} + {width}*1 + 2112], tmm3",
        )
    };
}
pub(super) use program;

thread_local! {
    /// Left rows in the order of tiles.
    static COPY: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// [`gemm::product`] on tiles; bf16 or int8.
///
/// # Safety
/// As [`gemm::product`], and the tiles are there.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, T: Tiles, const KIND: u8>(p: &Product) {
    unsafe {
        match p.how {
            _ if p.steps < SIDE => gemm::product::<L, KIND>(p),
            WRITE => blocks::<L, T, KIND, WRITE>(p),
            ADD => blocks::<L, T, KIND, ADD>(p),
            _ => blocks::<L, T, KIND, BF16_OUT>(p),
        }
    }
}

#[inline(always)]
unsafe fn blocks<L: Lanes, T: Tiles, const KIND: u8, const HOW: u8>(p: &Product) {
    unsafe {
        let mut tiles = T::default();
        let full = p.rows / ROWS * ROWS;
        let mut copy = COPY.take();
        for (first, last, rows) in [(0, full, ROWS), (full, p.rows, p.rows - full)] {
            if first < last {
                tiles.configure(&Config::of(rows));
                strips::<L, T, KIND, HOW>(&mut tiles, p, first, last, rows, &mut copy);
            }
        }
        tiles.release();
        COPY.set(copy);
    }
}

/// Rows `first..last` in blocks of `rows`, panels outside as in [`gemm::product`].
#[inline(always)]
unsafe fn strips<L: Lanes, T: Tiles, const KIND: u8, const HOW: u8>(
    tiles: &mut T,
    p: &Product,
    first: usize,
    last: usize,
    rows: usize,
    copy: &mut Vec<u32>,
) {
    unsafe {
        let stay = (LEFT_BYTES / (p.steps * 4) / ROWS).max(1) * ROWS;
        let (panels, sixteens) = (p.cols.div_ceil(WIDTH), p.steps / SIDE);
        let in_tiles = panels >= PANELS && rows == ROWS;
        let words = if in_tiles { stay.min(last - first) / ROWS * sixteens * LEFT } else { 0 };
        if copy.len() < words + SIDE {
            copy.resize(words + SIDE, 0);
        }
        let copy = copy.as_mut_ptr().add(copy.as_ptr().align_offset(64));
        let mut sums = [const { MaybeUninit::<Sums>::uninit() }; 2];
        let mut turn = 0;
        let mut before: Option<Rest<L::V>> = None;
        let mut start = first;
        while start < last {
            let end = (start + stay).min(last);
            if in_tiles {
                in_order_of_tiles::<L>(p, start, end, copy);
            }
            // each row fetches so many lines of the next panel
            let lines = (2 * p.steps).div_ceil(end - start);
            for panel in 0..panels {
                let mut ahead = p.panels.wrapping_add((panel + 1) % panels * p.steps * WIDTH);
                for row in (start..end).step_by(rows) {
                    let (left, below, stride, next) = if in_tiles {
                        let left = copy.add((row - start) * sixteens * SIDE).cast_const();
                        (left, left.add(LEFT / 2), 64, 4 * LEFT)
                    } else {
                        let left = p.left.add(row * p.stride);
                        let below = if rows > SIDE { left.add(SIDE * p.stride) } else { left };
                        (left, below, 4 * p.stride, 64)
                    };
                    let right = p.panels.add(panel * p.steps * WIDTH);
                    let sums = sums[turn].as_mut_ptr();
                    let block = Block { left, below, stride, next, width: 4 * WIDTH, panel: right, sums };
                    turn = 1 - turn;
                    tiles.begin();
                    let mut done = 0;
                    for sixteen in 0..sixteens {
                        tiles.steps::<KIND>(&block, sixteen, 1);
                        let to = rows * (sixteen + 1) / sixteens;
                        if let Some(before) = &before {
                            for i in done..to {
                                for _ in 0..lines {
                                    L::prefetch(ahead);
                                    ahead = ahead.wrapping_add(16);
                                }
                                before.row::<L, KIND, HOW>(p, i);
                            }
                        }
                        done = to;
                    }
                    tiles.end(&block);
                    before = Some(Rest::of::<L, KIND>(p, row, panel, sums));
                }
            }
            start = end;
        }
        if let Some(before) = before {
            (0..rows).for_each(|i| before.row::<L, KIND, HOW>(p, i));
        }
    }
}

/// Copies the whole sixteens of rows `start..end`, whole blocks, in the order of tiles: blocks, sixteens, rows, units.
#[inline(always)]
unsafe fn in_order_of_tiles<L: Lanes>(p: &Product, start: usize, end: usize, mut to: *mut u32) {
    unsafe {
        for block in (start..end).step_by(ROWS) {
            for sixteen in 0..p.steps / SIDE {
                for row in block..block + ROWS {
                    L::store(to.cast(), L::load(p.left.add(row * p.stride + sixteen * SIDE).cast()));
                    to = to.add(SIDE);
                }
            }
        }
    }
}

/// What a block has besides its tiles: the steps left over, and from sums to results.
struct Rest<V> {
    row: usize,
    right: *const u32,
    sums: *const f32,
    first: Columns<V>,
    second: Option<Columns<V>>,
}

impl<V: Copy> Rest<V> {
    #[inline(always)]
    unsafe fn of<L: Lanes<V = V>, const KIND: u8>(p: &Product, row: usize, panel: usize, sums: *const Sums) -> Self {
        unsafe {
            let column = panel * WIDTH;
            let first = Columns::of::<L, KIND>(p, column);
            let second = (column + 16 < p.cols).then(|| Columns::of::<L, KIND>(p, column + 16));
            Rest { row, right: p.panels.add(panel * p.steps * WIDTH), sums: sums.cast(), first, second }
        }
    }

    /// The `i`th row of the block.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // as in `gemm`
    unsafe fn row<L: Lanes<V = V>, const KIND: u8, const HOW: u8>(&self, p: &Product, i: usize) {
        unsafe {
            let left = p.left.add((self.row + i) * p.stride);
            let line = self.sums.add(i * WIDTH);
            let mut v = [L::load(line), L::load(line.add(16))];
            for step in p.steps / SIDE * SIDE..p.steps {
                let unit = L::splat_u32(left.add(step).read_unaligned());
                for c in 0..2 {
                    v[c] = dot::<L, KIND>(v[c], unit, L::load(self.right.add(step * WIDTH + c * 16).cast()));
                }
            }
            finish::<L, KIND, HOW>(p, v[0], self.row + i, &self.first);
            if let Some(second) = &self.second {
                finish::<L, KIND, HOW>(p, v[1], self.row + i, second);
            }
        }
    }
}
