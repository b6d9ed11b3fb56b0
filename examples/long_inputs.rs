//! Time and memory of long inputs: Longformer's windows with a global token, and the same encoder without them, by tokens. An SVG plot with `--plot`.
//!
//! ```sh
//! cargo run --release --example long_inputs -- 512,1024,2048,4096,8192,12288,16384,20000 --plot docs/cost-of-long-inputs.svg
//! ```
//!
//! Four layers of 256, four heads, a window of 256 tokens on each side, f32, random weights: time does not depend on them. Every measurement is a process of
//! its own; its memory is the peak of resident memory during the passes less what was resident before them (Linux). The dense encoder goes on until a pass
//! takes longer than `LIMIT`. Attention is computed in blocks of queries in both, so memory is linear in both: it is time that a window saves.

use std::process::Command;
use std::time::Instant;

use sverka::models::bert::{Config, Family, PREFIX, encoder};
use sverka::models::cross_encoder::CrossEncoder;
use sverka::nn::encoder::{Request, Rows, Start};
use sverka::nn::{Device, Dtype};
use sverka::testing;
use sverka::text::Batch;
use sverka::train::environment::memory;

/// Seconds of a pass of the dense encoder after which longer inputs are left out.
const LIMIT: f64 = 60.0;
/// Seconds in which passes are repeated, two at least; the fastest counts, since a busy machine only ever adds.
const SECONDS: f64 = 2.0;
const WINDOW: usize = 512;
const LAYERS: usize = 4;

/// The fastest of some passes, seconds, and the memory that they take at most, MiB.
fn measure(tokens: usize, windows: bool) -> sverka::Result<(f64, f64)> {
    let config = Config {
        hidden_size: 256,
        num_hidden_layers: LAYERS,
        num_attention_heads: 4,
        intermediate_size: 1024,
        max_position_embeddings: 20_000,
        family: if windows { Family::Longformer } else { Family::Bert },
        attention_window: windows.then(|| vec![WINDOW; LAYERS]),
        ..testing::config(1000)
    };
    let weights = testing::weights(&config, &CrossEncoder, 0.05, 1);
    let encoder = encoder(&config, PREFIX, &weights, Dtype::F32, Device::Cpu)?;
    drop(weights);
    let ids = (0..tokens as u32).map(|i| i * 7 % 1000).collect();
    let batch = Batch { ids, segments: vec![0; tokens], offsets: vec![0, tokens as u32], ..Batch::default() };
    let request = Request { start: Start::Tokens(&batch), layers: 0..LAYERS, rows: Rows::All, keep: &[] };
    // the peak is counted from here
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let mebibytes = |name| memory(name).map_or(f64::NAN, |bytes| bytes as f64 / f64::from(1 << 20));
    let before = mebibytes("VmRSS");
    let (mut best, mut passes, begun) = (f64::INFINITY, 0, Instant::now());
    while passes < 2 || begun.elapsed().as_secs_f64() < SECONDS {
        let start = Instant::now();
        encoder.run(&request)?;
        best = best.min(start.elapsed().as_secs_f64());
        passes += 1;
    }
    Ok((best, mebibytes("VmHWM") - before))
}

/// [`measure`] in a process of its own.
fn apart(tokens: usize, windows: bool) -> Option<(f64, f64)> {
    let program = std::env::current_exe().ok()?;
    let mode = if windows { "windows" } else { "dense" };
    let out = Command::new(program).args(["--one", &tokens.to_string(), mode]).output().ok()?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let (seconds, memory) = text.trim().split_once(' ')?;
    Some((seconds.parse().ok()?, memory.parse().ok()?))
}

/// A line of the plot: name, colour, and `(tokens, value)`.
type Line = (&'static str, &'static str, Vec<(f64, f64)>);

/// A panel of the plot.
fn panel(title: &str, left: f64, series: &[Line]) -> String {
    let (width, height, top) = (380.0, 260.0, 40.0);
    let points = || series.iter().flat_map(|(.., points)| points);
    let most_x = points().map(|p| p.0).fold(1.0, f64::max);
    let most_y = points().map(|p| p.1).fold(1e-9, f64::max);
    let x = |tokens: f64| left + width * tokens / most_x;
    let y = |value: f64| top + height - height * value / most_y;
    let mut out = format!("<text x=\"{left}\" y=\"24\" font-size=\"15\">{title}</text>\n");
    for part in 0..=4 {
        let (value, tokens) = (most_y * f64::from(part) / 4.0, most_x * f64::from(part) / 4.0);
        let (across, down) = (y(value), x(tokens));
        out += &format!(
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{across:.1}\" y2=\"{across:.1}\" stroke=\"#e4e4e4\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#666\">{value:.1}</text>\n\
             <text x=\"{down:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#666\">{tokens:.0}</text>\n",
            left + width,
            left - 6.0,
            across + 4.0,
            top + height + 18.0,
        );
    }
    for (place, (name, colour, points)) in series.iter().enumerate() {
        let way: Vec<String> = points.iter().map(|(t, v)| format!("{:.1},{:.1}", x(*t), y(*v))).collect();
        let at = top + 14.0 + 20.0 * place as f64;
        out += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <line x1=\"{}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" stroke=\"{colour}\" stroke-width=\"2\"/>\n\
             <text x=\"{}\" y=\"{}\">{name}</text>\n",
            way.join(" "),
            left + 12.0,
            left + 36.0,
            left + 42.0,
            at + 4.0,
        );
    }
    out
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [one, tokens, mode] = &arguments[..]
        && one == "--one"
    {
        let (seconds, memory) = measure(tokens.parse()?, mode == "windows")?;
        println!("{seconds} {memory}");
        return Ok(());
    }
    let lengths = arguments.first().map_or("512,1024,2048,4096", String::as_str);
    let lengths: Vec<usize> = lengths.split(',').map(str::parse).collect::<Result<_, _>>()?;
    println!("| tokens | windows: s | MiB | dense: s | MiB |\n| --: | --: | --: | --: | --: |");
    let (mut times, mut memory) = ([vec![], vec![]], [vec![], vec![]]);
    let mut dense_goes_on = true;
    for tokens in lengths {
        let mut line = format!("| {tokens} |");
        for (way, windows) in [true, false].into_iter().enumerate() {
            let measured = if windows || dense_goes_on { apart(tokens, windows) } else { None };
            let Some((seconds, grown)) = measured else {
                line += " | |";
                continue;
            };
            line += &format!(" {seconds:.3} | {grown:.0} |");
            times[way].push((tokens as f64, seconds));
            memory[way].push((tokens as f64, grown));
            dense_goes_on &= windows || seconds < LIMIT;
        }
        println!("{line}");
    }
    if let Some(at) = arguments.iter().position(|argument| argument == "--plot") {
        let path = arguments.get(at + 1).ok_or("--plot wants a file")?;
        let lines = |of: &[Vec<(f64, f64)>; 2]| {
            [("window of 512 and a global token", "#0b5fa5"), ("dense", "#c4570c")]
                .into_iter()
                .zip(of.iter().cloned())
                .map(|((name, colour), points)| (name, colour, points))
                .collect::<Vec<_>>()
        };
        let plot = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 920 340\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"920\" height=\"340\" fill=\"white\"/>\n{}{}</svg>\n",
            panel("Seconds a pass by tokens", 60.0, &lines(&times)),
            panel("MiB that a pass takes, by tokens", 520.0, &lines(&memory)),
        );
        std::fs::write(path, plot)?;
    }
    Ok(())
}
