// sluice eval: perplexity of a checkpoint on a token file.

#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "core/error.hpp"
#include "core/logging.hpp"
#include "core/parallel.hpp"
#include "io/batch_reader.hpp"
#include "io/checkpoint.hpp"
#include "layers/kernels/cudnn_attention.hpp"
#include "src/cli/commands.hpp"
#include "src/cli/option_checks.hpp"
#include "src/inspect/checkpoint_list.hpp"
#include "src/process/memory_budget.hpp"
#include "src/process/threads.hpp"
#include "src/train/checkpointing.hpp"
#include "src/train/evaluation_plan.hpp"
#include "src/train/rank_binding.hpp"
#include "src/train/rank_device.hpp"
#include "src/train/token_stream.hpp"

#include <CLI/CLI.hpp>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

struct EvalOptions {
    std::string checkpoint, data, device;
    std::int64_t tokens = 0;
    std::int64_t batch_size = 0;
    int threads = 0;
    bool json = false;
};

/// The processor asked for or, where that was said loosely, one that is there: where a model was
/// trained does not matter.
std::string device_for(const RunConfig& saved, const std::string& asked)
{
    const std::string wanted = asked.empty() ? saved.run.device : asked;
    const bool on_cpus_alone = saved.precision == ComputePrecision::fp64;
    if (on_cpus_alone && asked == "cuda")
        throw usage_error("fp64 is computed on CPUs alone", "--device", "leave it out");
    if (wanted == "cpu" || on_cpus_alone)
        return "cpu";
    const RankGpu gpu = gpu_of_this_process(binding_of_this_rank().node, 0);
    const std::string why = why_unfit(gpu);
    if (why.empty())
        return "cuda";
    if (asked == "cuda")
        throw usage_error("this machine has " + why, "--device",
                          "write --device cpu, or see `sluice doctor` where a GPU is");
    if (asked.empty())
        log_warning("on the CPU, not as in training on a GPU: this machine has " + why);
    return "cpu";
}

/// As far as the tokens that the model was trained on are still there.
void refuse_other_tokenizer(const std::filesystem::path& trained_on, const std::string& data)
{
    std::optional<TokenFile> training;
    try {
        training.emplace(trained_on);
    } catch (const UserError&) {
        return;
    }
    check_tokenizer(TokenFile(data), *training);
}

/// The saved run, with its data replaced and nothing else changed.
RunConfig evaluation_config(const CheckpointReader& reader, const EvalOptions& options)
{
    RunConfig config =
        parse_run_config(reader.config_toml(), (reader.path() / "config").string(), ".", {});
    refuse_other_tokenizer(config.data.train, options.data);
    config.data.train = options.data;
    config.data.validation = options.data;
    if (options.tokens > 0)
        config.eval.tokens = options.tokens;
    if (options.batch_size > 0)
        config.batch.micro_batch_size = options.batch_size;
    config.batch.global_batch_size = config.batch.micro_batch_size;
    config.run.device = device_for(config, options.device);
    if (config.attention == AttentionKernels::cudnn)
        if (const std::string why = kernels::why_no_cudnn(); !why.empty()) {
            // Nor does it matter whose attention it was trained with, to the last bits.
            if (config.run.device == "cuda")
                log_warning("attention by our own kernels, not by cuDNN: " + why);
            config.attention = AttentionKernels::own;
        }
    return config;
}

/// The run's own advice would be to change the run file, which nobody has in hand here.
void refuse_batch_beyond_the_file(const RunConfig& config)
{
    const TokenFile file(config.data.validation);
    const std::uint64_t num_windows =
        BatchReader::in_order(file, config.batch.seq_len).num_windows();
    if (num_windows < static_cast<std::uint64_t>(config.batch.micro_batch_size))
        throw usage_error(fmt::format("{} sequences of {} tokens at once, and the file holds {}",
                                      config.batch.micro_batch_size, config.batch.seq_len,
                                      num_windows),
                          file.path().string(), fmt::format("write --batch-size {}", num_windows));
}

/// On the current GPU, or in this machine's memory.
std::size_t bytes_there(const RunConfig& config)
{
    if (config.run.device != "cuda")
        return memory_per_rank();
    return free_gpu_bytes();
}

int evaluate(const EvalOptions& options)
{
    warn_of_threads_without_cores(options.threads);
    const int num_threads = threads_for_this_rank(options.threads);
    require_threads(num_threads);
    set_num_threads(num_threads);
    const CheckpointReader reader(checkpoint_at(options.checkpoint));
    if (const auto problems = reader.verify(); !problems.empty())
        throw data_error("this checkpoint is damaged: " + problems.front(), options.checkpoint,
                         "see `sluice inspect --verify`");
    const RunConfig config = evaluation_config(reader, options);
    refuse_batch_beyond_the_file(config);
    TokenStream tokens(config);
    const std::int32_t num_microbatches = tokens.num_evaluation_microbatches();
    RunPlan plan = plan_evaluation(config, num_microbatches);
    if (config.run.device == "cuda")
        use_gpu(0);
    const ComputeStream compute(plan.stage.stream); // its workspace is in no plan
    refuse_evaluation_unless_it_fits(config, plan, bytes_there(config));
    plan.stage.stream = compute.stream();
    const auto transport = make_in_process_transport();
    Stage stage(plan.stage, plan.program, plan.slots, plan.partition);
    restore_stage(reader, stage);
    Executor executor(plan.program, plan.slots, stage, *transport, VerifyTransfers::no);
    const std::int64_t count =
        std::int64_t{num_microbatches} * config.batch.micro_batch_size * config.batch.seq_len;
    const double loss = executor.run_evaluation(tokens.evaluation()) / static_cast<double>(count);
    if (options.json)
        fmt::print("{}\n", nlohmann::json{{"update", reader.progress().update},
                                          {"loss", loss},
                                          {"perplexity", std::exp(loss)},
                                          {"tokens", count}}
                               .dump());
    else
        fmt::print("update {}: loss {:.6f}, perplexity {:.4f} on {} tokens of {}\n",
                   reader.progress().update, loss, std::exp(loss), count, options.data);
    if (!std::isfinite(loss))
        throw data_error(
            "the loss is not a finite number, so its weights are not", options.checkpoint,
            "`sluice inspect` shows the norms of all of them; take an older checkpoint");
    return 0;
}

} // namespace

void add_eval_command(CLI::App& app, ChosenCommand& chosen)
{
    auto options = std::make_shared<EvalOptions>();
    CLI::App* command = app.add_subcommand("eval", "Perplexity of a checkpoint on a token file");
    command
        ->add_option("CHECKPOINT", options->checkpoint,
                     "Checkpoint folder, a run folder (its newest), or a merged file")
        ->required();
    command->add_option("--data", options->data, "Token file")->required();
    command
        ->add_option("--tokens", options->tokens,
                     "At most this many tokens, but one batch at the least [the run's eval.tokens]")
        ->check(at_least(1));
    command->add_option("--batch-size", options->batch_size, "Sequences at once [the run's]")
        ->check(at_least(1));
    command
        ->add_option("--device", options->device,
                     "auto: a GPU where one is; cpu; cuda [the run's, or the CPU where no GPU is]")
        ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
    command->add_option("--threads", options->threads, "Threads [all cores]")
        ->check(CLI::Range(1, 4096));
    command->add_flag("--json", options->json, "One JSON object");
    command->callback([&chosen, options] { chosen = [options] { return evaluate(*options); }; });
}

} // namespace sluice
