// A run file, parsed, checked and with every default filled in.
#pragma once

#include "layers/model_spec.hpp"
#include "layers/precision.hpp"
#include "layers/recompute.hpp"
#include "pipeline/residual_warmup.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sluice {

enum class LearningRateKind : std::uint8_t { wsd, cosine, linear, constant };
/// The families of pipeline/schedule/schedule_family.hpp in their order, a schedule from a file,
/// and the planner's choice.
enum class PipelineScheduleKind : std::uint8_t {
    gpipe,
    one_f_one_b,
    interleaved_1f1b,
    zb_h1,
    interleaved_zb,
    zb_v,
    v_half,
    custom,
    automatic,
};
/// What a run computes in; see element_types().
enum class ComputePrecision : std::uint8_t {
    fp32,
    fp64, ///< on the slow reference kernels
    bf16, ///< with fp32 master weights, gradients and moments
    pure_bf16,
    automatic, ///< bf16 on GPUs, fp32 on CPUs; settle_precision() decides
};

/// Whose attention runs on GPUs: our kernels, or cuDNN's (layers/kernels/cudnn_attention.hpp).
enum class AttentionKernels : std::uint8_t { own, cudnn };

struct ProResConfig {
    WarmupSchedule schedule = WarmupSchedule::linear;
    std::int64_t warmup_steps = 1000; ///< T, of the first layer, in updates
};

struct OptimizerConfig {
    double lr = 0.0; ///< preset's or given
    double beta1 = 0.9, beta2 = 0.95;
    double eps = 1e-8;
    double weight_decay = 0.1;
    double grad_clip = 1.0; ///< 0: no clipping
};

struct LearningRateConfig {
    LearningRateKind kind = LearningRateKind::wsd;
    std::int64_t warmup_steps = 2000; ///< updates; see default_lr_warmup_steps() in presets.hpp
    double decay_fraction = 0.1;      ///< of run.updates (wsd)
    double min_lr_ratio = 0.0;
    bool warmup_is_default = false; ///< nobody has written warmup_steps
};

/// Updates at the end of a run of `updates` over which the rate falls: wsd: decay_fraction of them,
/// rounded; cosine, linear: all after the warm-up; constant: 0.
std::int64_t num_decay_updates(const LearningRateConfig& config, std::int64_t updates);

/// In one update, of all replicas.
inline constexpr std::int64_t most_microbatches = 1'000'000;

struct BatchConfig {
    std::int64_t global_batch_size = 512; ///< sequences per update
    std::int64_t micro_batch_size = 1;    ///< sequences
    std::int64_t seq_len = 1024;
    std::int64_t num_microbatches() const { return global_batch_size / micro_batch_size; }
    std::int64_t tokens_per_update() const { return global_batch_size * seq_len; }
};

/// What carries messages between GPUs. `mpi`: from where they lie if MPI takes GPUs' memory, by way
/// of host memory if not, which is what `staged` always does. `automatic`: decided when the run
/// starts, NCCL where it can be used (choose_carriers() in src/train/gpu_carrier.hpp), else `mpi`.
enum class GpuTransport : std::uint8_t { automatic, mpi, nccl, staged };

/// What a run file may leave to the program, which makes it on or off once it knows enough.
enum class Switch : std::uint8_t { automatic, on, off };

struct PipelineConfig {
    PipelineScheduleKind schedule = PipelineScheduleKind::one_f_one_b;
    std::int32_t chunks_per_rank = 1;
    std::int32_t replicas = 1; ///< whole pipelines, each on its share of the micro-batches
    std::int32_t extra_warmup = 0;
    std::filesystem::path schedule_file; ///< for custom
    Recompute recompute = Recompute::none;
    std::string partition = "auto"; ///< or layers per chunk, "7,5"
    GpuTransport transport = GpuTransport::automatic;
    /// Checksums of all activations and gradients on their way.
    bool verify_transfers = true;
    /// CUDA graphs of whole forward and backward passes. `automatic`: where launching kernels would
    /// take longer than running them (captures_graphs).
    Switch graphs = Switch::automatic;
};

struct DataConfig {
    std::filesystem::path train, validation; ///< validation may be empty
    /// Checksum of the training tokens; empty: any. A run writes it into its resolved run file, so
    /// that a resume on other tokens is refused.
    std::string train_checksum;
};

/// What a run does when a save that is due, or its metrics, cannot be written.
enum class WriteFailure : std::uint8_t {
    stop,
    go_on, ///< lines of metrics wait in memory; the save is tried again
};

struct CheckpointConfig {
    std::int64_t every_updates = 1000; ///< 0: only at the end and when stopped
    std::int64_t keep_last = 2;        ///< 0: all
    std::int64_t keep_every = 0;       ///< updates; 0: none kept beyond keep_last
    /// Whether training goes on while a checkpoint is written, from a copy in memory. `automatic`:
    /// where the memory for it is there (settle_saves in src/plan/memory_limit.hpp).
    Switch asynchronous = Switch::automatic;
    WriteFailure on_failure = WriteFailure::stop;
    /// Updates from a save that failed until it is tried again.
    std::int64_t retry_after() const { return std::max<std::int64_t>(1, every_updates / 10); }
};

/// What becomes of an update whose gradients are not finite or whose loss is a spike.
enum class AnomalyResponse : std::uint8_t {
    stop,
    skip,   ///< its batch; the update is done on the next one
    rewind, ///< a number of updates, whose batches are skipped
    warn,
};

struct AnomalyConfig {
    AnomalyResponse on_nonfinite = AnomalyResponse::stop; ///< never warn
    double loss_spike_sigma = 0.0;   ///< standard deviations above the mean; 0: none is looked for
    std::int64_t spike_window = 100; ///< updates before it that a loss is compared with
    AnomalyResponse on_spike = AnomalyResponse::warn;
    std::int64_t rewind_updates = 100;
    std::int64_t max_rewinds = 10; ///< skips counted among them; then the run stops
    std::int64_t repeat_every = 0; ///< updates between those computed twice; 0: none is
    /// How far back checkpoints must reach; 0: no rewinds are wanted.
    std::int64_t reach_back() const
    {
        const bool rewinds =
            on_nonfinite == AnomalyResponse::rewind || on_spike == AnomalyResponse::rewind;
        return rewinds ? rewind_updates : 0;
    }
};

struct EvalConfig {
    std::int64_t every_updates = 1000; ///< 0: never
    std::int64_t tokens = 10'000'000;
};

struct MetricsConfig {
    std::int64_t activation_norm_every = 0; ///< updates; 0: never
    bool digest_every_update = false;       ///< also write the parameters' digest per update
};

struct TraceConfig {
    std::string updates; ///< see update_ranges.hpp; empty: none
};

struct RunSection {
    std::int64_t updates = 0;
    std::uint64_t seed = 0;
    std::string device = "auto";         ///< auto cpu cuda; see src/train/rank_device.hpp
    std::int32_t threads_per_rank = 0;   ///< 0: cores / ranks on this machine
    std::int64_t time_limit_seconds = 0; ///< stop in time by itself; 0: no limit but Slurm's
    double hang_seconds = 0.0;  ///< that a rank may stand still; 0: see src/watch/hang_bounds.hpp
    double start_seconds = 0.0; ///< that ranks may take to find each other; 0: start_seconds() in
                                ///< src/watch/start_deadline.hpp
};

struct RunConfig {
    ModelSpec model;
    std::string preset; ///< as named, may be empty
    ProResConfig prores;
    OptimizerConfig optimizer;
    LearningRateConfig lr_schedule;
    BatchConfig batch;
    PipelineConfig pipeline;
    DataConfig data;
    ComputePrecision precision = ComputePrecision::automatic;
    bool tf32 = false; ///< on GPUs: products of fp32 may round their operands to TF32
    AttentionKernels attention = AttentionKernels::own;
    CheckpointConfig checkpoint;
    AnomalyConfig anomaly;
    EvalConfig eval;
    MetricsConfig metrics;
    TraceConfig trace;
    RunSection run;
};

/// Throws UserError (usage) where `path` is a pipe: it gives its text once, and ranks that are
/// started read the run file again.
void refuse_pipe(const std::filesystem::path& path);

/// Reads a TOML run file, applies `overrides` ("section.key=value", TOML values; bare words are
/// taken as strings), expands presets and checks everything that can be checked without opening
/// data. Relative paths inside the file are relative to the file's folder; those in overrides to
/// the current folder. Throws UserError (usage): file, line, key, reason, nearest valid choice.
RunConfig load_run_config(const std::filesystem::path& path,
                          const std::vector<std::string>& overrides);
/// The same from text; `source` names it in messages and `base` resolves relative paths.
RunConfig parse_run_config(std::string_view text, const std::string& source,
                           const std::filesystem::path& base,
                           const std::vector<std::string>& overrides);

/// Makes precision.compute concrete. run.device must be concrete already: whatever is not "cuda"
/// counts as a CPU.
void settle_precision(RunConfig& config);
/// What settle_precision() makes or would make of it.
Precision element_types(const RunConfig& config);

/// Whether forward and backward passes become CUDA graphs, now that run.device is concrete: on CPUs
/// never; `automatic` means where a layer's kernels would each take less than 20 us on a GPU that
/// does 4e14 FLOPs a second. An H100 agrees at both ends.
bool captures_graphs(const RunConfig& config);

/// The first line of what resolved_toml() gives.
inline constexpr std::string_view resolved_toml_heading =
    "# Written by sluice: every key, presets expanded.";
/// Every key written out; parsing it gives the same RunConfig.
std::string resolved_toml(const RunConfig& config);

/// The keys (with both values) in which two runs differ in a way that changes the result: model,
/// prores, optimizer, lr_schedule, batch, precision, seed, run.updates where the schedule depends
/// on it, data.train (its checksum, where both runs know one; its path otherwise). Layout keys
/// never appear; run_key.hpp says which is which.
std::vector<std::string> differences_in_result(const RunConfig& saved, const RunConfig& now);

/// The same for keys that change the order in which numbers are added and nothing else
/// (pipeline.replicas, run.device): a run may go on with other values, to a result that differs by
/// rounding.
std::vector<std::string> differences_in_rounding(const RunConfig& saved, const RunConfig& now);

} // namespace sluice
