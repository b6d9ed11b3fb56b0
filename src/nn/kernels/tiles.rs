//! Products of bf16 and int8 on tiles (AMX): eight registers of 16 rows with 64 bytes each, and one instruction that adds
//! sixteen steps to 16 x 16 sums.
//!
//! Sixteen left rows are an A tile of sixteen units a row; sixteen steps of a panel are two B tiles side by side, a row every
//! 128 bytes. A block of the result is 32 rows by the 32 columns of a panel: four tiles of sums, two of A and two of B, which
//! is all there are.
//!
//! A sum takes its steps by sixteens, the last of them filled up with zeros on both sides. So its order depends on the number
//! of steps alone and a row has the same bits in any batch. Sums of int8 are exact and equal those of every unit; bf16's even
//! and odd values have running sums of their own within sixteen steps, so its bits differ from the other units'.
//!
//! The instructions are methods of [`Tiles`], because the tests run them on emulated tiles where the CPU has none. They are
//! the text [`program`], which is assembled and which the emulator reads.
//!
//! What counts is where operands come from: a panel and 32 left rows of 384 values fill the first-level cache. So left rows are
//! loaded with a hint to leave no copy there (`tileloaddt1`: 35 % faster on Emerald Rapids), and where many panels meet them,
//! they are first copied in the order of tiles (10 %), and wherever there are zeros to fill in. The lanes' part of a block (scales,
//! bias) is done between the steps of the next block, and so the next panel is fetched little by little (5 %).

#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is the body of an unsafe fn, which hands its own contract on"
)]

use std::cell::RefCell;
use std::mem::MaybeUninit;

use super::gemm::{self, ADD, BF16_OUT, Columns, Product, WIDTH, WRITE, finish};
use super::lanes::Lanes;
use super::memory::Buffer;

/// Rows of a tile, and units in a row of it.
const SIDE: usize = 16;
/// Rows of a block.
const ROWS: usize = 2 * SIDE;
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

/// Sixteen steps of a panel.
#[repr(C, align(64))]
struct Steps([[u32; WIDTH]; SIDE]);

/// Bytes from one step of a panel, or row of sums, to the next.
pub(super) const STEP_BYTES: usize = 4 * WIDTH;

/// Where the operands of sixteen steps are.
pub(super) struct Operands {
    /// The first row, and the first row of the lower half.
    pub left: *const u32,
    pub below: *const u32,
    /// Bytes from one left row to the next.
    pub stride: usize,
    pub panel: *const u32,
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
    /// Adds sixteen steps to the sums; reads the configured rows.
    unsafe fn steps<const KIND: u8>(&mut self, operands: &Operands);
    /// Writes the sums.
    unsafe fn end(&mut self, sums: *mut Sums);
    /// Gives the tiles up: a thread that holds some is dearer to switch.
    unsafe fn release(&mut self);
}

/// The instructions of [`Tiles`], in Intel's syntax: the one that `steps` names adds A (second operand) times B (third) to the
/// first. Registers are named as the fields of [`Operands`]; `width` is [`STEP_BYTES`].
macro_rules! program {
    (begin) => {
        "tilezero tmm0\ntilezero tmm1\ntilezero tmm2\ntilezero tmm3"
    };
    (steps $dot:literal) => {
        concat!(
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
            " tmm3, tmm5, tmm7",
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
    static COPY: RefCell<Buffer<u32>> = RefCell::default();
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

/// Panels outside as in [`gemm::product`].
#[inline(always)]
unsafe fn blocks<L: Lanes, T: Tiles, const KIND: u8, const HOW: u8>(p: &Product) {
    unsafe {
        let stay = (LEFT_BYTES / (p.steps * 4) / ROWS).max(1) * ROWS;
        let (panels, sixteens, over) = (p.cols.div_ceil(WIDTH), p.steps.div_ceil(SIDE), p.steps % SIDE);
        let in_tiles = over > 0 || (panels >= PANELS && p.rows >= ROWS);
        let mut copy = COPY.take();
        if in_tiles {
            copy.reserve(stay.min(p.rows) * sixteens * SIDE);
        }
        let mut last_steps = MaybeUninit::<Steps>::uninit();
        if over > 0 {
            last_steps.write(Steps([[0; WIDTH]; SIDE]));
        }
        let (mut tiles, mut configured) = (T::default(), 0);
        let mut sums = [const { MaybeUninit::<Sums>::uninit() }; 2];
        let mut turn = 0;
        let mut before: Option<Rest<L::V>> = None;
        // Of few panels the rows that fill no block come apart: another configuration costs more than another look at a panel.
        let whole = if panels < PANELS { p.rows / ROWS * ROWS } else { p.rows };
        let mut start = 0;
        while start < p.rows {
            let last = if start < whole { whole } else { p.rows };
            let end = (start + stay).min(last);
            if in_tiles {
                in_order_of_tiles::<L>(p, start, end, copy.as_mut_ptr());
            }
            // each row fetches so many lines of the next panel
            let lines = (2 * p.steps).div_ceil(end - start);
            for panel in 0..panels {
                let right = p.panels.add(panel * p.steps * WIDTH);
                if over > 0 {
                    let (from, to) = (right.add((p.steps - over) * WIDTH), last_steps.as_mut_ptr());
                    std::ptr::copy_nonoverlapping(from, to.cast(), over * WIDTH);
                }
                let mut ahead = p.panels.wrapping_add((panel + 1) % panels * p.steps * WIDTH);
                for row in (start..end).step_by(ROWS) {
                    let rows = (end - row).min(ROWS);
                    if rows != configured {
                        tiles.configure(&Config::of(rows));
                        configured = rows;
                    }
                    // words from a row to the next, and from sixteen steps to the next
                    let (left, stride, next) = if in_tiles {
                        (copy.as_ptr().add((row - start) * sixteens * SIDE), SIDE, rows * SIDE)
                    } else {
                        (p.left.add(row * p.stride), p.stride, SIDE)
                    };
                    let below = if rows > SIDE { left.add(SIDE * stride) } else { left };
                    tiles.begin();
                    let mut done = 0;
                    for sixteen in 0..sixteens {
                        let panel = match sixteen + 1 == sixteens && over > 0 {
                            false => right.add(sixteen * SIDE * WIDTH),
                            true => last_steps.as_ptr().cast(),
                        };
                        let (left, below) = (left.add(sixteen * next), below.add(sixteen * next));
                        tiles.steps::<KIND>(&Operands { left, below, stride: 4 * stride, panel });
                        if let Some(before) = &before {
                            let to = before.rows * (sixteen + 1) / sixteens;
                            for i in done..to {
                                for _ in 0..lines {
                                    L::prefetch(ahead);
                                    ahead = ahead.wrapping_add(16);
                                }
                                before.row::<L, KIND, HOW>(p, i);
                            }
                            done = to;
                        }
                    }
                    let sums = sums[turn].as_mut_ptr();
                    turn = 1 - turn;
                    tiles.end(sums);
                    before = Some(Rest::of::<L, KIND>(p, (row, rows), panel, sums));
                }
            }
            start = end;
        }
        if let Some(before) = before {
            (0..before.rows).for_each(|i| before.row::<L, KIND, HOW>(p, i));
        }
        tiles.release();
        COPY.set(copy);
    }
}

/// Copies rows `start..end` in the order of tiles: blocks, sixteens, rows, units; zeros past the last step.
#[inline(always)]
unsafe fn in_order_of_tiles<L: Lanes>(p: &Product, start: usize, end: usize, mut to: *mut u32) {
    unsafe {
        for block in (start..end).step_by(ROWS) {
            for step in (0..p.steps).step_by(SIDE) {
                let units = (p.steps - step).min(SIDE);
                for row in block..end.min(block + ROWS) {
                    L::store(to.cast(), L::load_n(p.left.add(row * p.stride + step).cast(), units));
                    to = to.add(SIDE);
                }
            }
        }
    }
}

/// From a block's sums to its results.
struct Rest<V> {
    row: usize,
    rows: usize,
    sums: *const f32,
    first: Columns<V>,
    second: Option<Columns<V>>,
}

impl<V: Copy> Rest<V> {
    #[inline(always)]
    unsafe fn of<L: Lanes<V = V>, const KIND: u8>(
        p: &Product,
        (row, rows): (usize, usize),
        panel: usize,
        sums: *const Sums,
    ) -> Self {
        unsafe {
            let column = panel * WIDTH;
            let first = Columns::of::<L, KIND>(p, column);
            let second = (column + 16 < p.cols).then(|| Columns::of::<L, KIND>(p, column + 16));
            Rest { row, rows, sums: sums.cast(), first, second }
        }
    }

    /// The `i`th row of the block.
    #[inline(always)]
    unsafe fn row<L: Lanes<V = V>, const KIND: u8, const HOW: u8>(&self, p: &Product, i: usize) {
        unsafe {
            let line = self.sums.add(i * WIDTH);
            finish::<L, KIND, HOW>(p, L::load(line), self.row + i, &self.first);
            if let Some(second) = &self.second {
                finish::<L, KIND, HOW>(p, L::load(line.add(16)), self.row + i, second);
            }
        }
    }
}
