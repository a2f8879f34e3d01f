// sluice eval: perplexity of a checkpoint on a token file.

#include "core/compute_stream.hpp"
#include "core/cuda/gpu.hpp"
#include "core/error.hpp"
#include "core/logging.hpp"
#include "core/parallel.hpp"
#include "io/checkpoint.hpp"
#include "layers/kernels/cudnn_attention.hpp"
#include "src/cli/commands.hpp"
#include "src/train/checkpointing.hpp"
#include "src/train/run_plan.hpp"
#include "src/train/threads.hpp"
#include "src/train/token_stream.hpp"

#include <CLI/CLI.hpp>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

struct EvalOptions {
    std::string checkpoint, data;
    std::int64_t tokens = 0;
    std::int64_t batch_size = 0;
    int threads = 0;
    bool json = false;
};

/// The saved run, with its data replaced and nothing else changed.
RunConfig evaluation_config(const CheckpointReader& reader, const EvalOptions& options)
{
    RunConfig config =
        parse_run_config(reader.config_toml(), (reader.path() / "config").string(), ".", {});
    config.data.train = options.data;
    config.data.validation = options.data;
    if (options.tokens > 0)
        config.eval.tokens = options.tokens;
    if (options.batch_size > 0)
        config.batch.micro_batch_size = options.batch_size;
    config.batch.global_batch_size = config.batch.micro_batch_size;
    config.pipeline = {};
    if (config.run.device == "cuda" && num_gpus() == 0)
        config.run.device = "cpu"; // where it was trained does not matter
    if (config.attention == AttentionKernels::cudnn)
        if (const std::string why = kernels::why_no_cudnn(); !why.empty()) {
            // Nor does it matter whose attention it was trained with, to the last bits.
            if (config.run.device == "cuda")
                log_warning("attention by our own kernels, not by cuDNN: " + why);
            config.attention = AttentionKernels::own;
        }
    return config;
}

int evaluate(const EvalOptions& options)
{
    set_num_threads(threads_for_this_rank(options.threads));
    const CheckpointReader reader(options.checkpoint);
    if (const auto problems = reader.verify(); !problems.empty())
        throw data_error("this checkpoint is damaged: " + problems.front(), options.checkpoint,
                         "see `sluice inspect --verify`");
    const RunConfig config = evaluation_config(reader, options);
    RunPlan plan = plan_run(config, 1);
    const ComputeStream compute(plan.stage.stream);
    plan.stage.stream = compute.stream();
    TokenStream tokens(config);
    const auto transport = make_in_process_transport();
    Stage stage(plan.stage, plan.program, plan.slots, plan.partition);
    restore_stage(reader, stage);
    const std::int32_t num_microbatches = tokens.num_evaluation_microbatches();
    const Schedule forwards = make_forward_only(plan.program.rank_of_chunk, 1, num_microbatches);
    const SlotTable slots = forward_only_slots(forwards);
    Executor executor(forwards, slots, stage, *transport, VerifyTransfers::no);
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
    return 0;
}

} // namespace

void add_eval_command(CLI::App& app, ChosenCommand& chosen)
{
    auto options = std::make_shared<EvalOptions>();
    CLI::App* command = app.add_subcommand("eval", "Perplexity of a checkpoint on a token file");
    command->add_option("CHECKPOINT", options->checkpoint, "Checkpoint folder or merged file")
        ->required();
    command->add_option("--data", options->data, "Token file")->required();
    command
        ->add_option("--tokens", options->tokens,
                     "At most this many tokens [the run's eval.tokens]")
        ->check(CLI::PositiveNumber);
    command->add_option("--batch-size", options->batch_size, "Sequences at once [the run's]")
        ->check(CLI::PositiveNumber);
    command->add_option("--threads", options->threads, "Threads [all cores]")
        ->check(CLI::PositiveNumber);
    command->add_flag("--json", options->json, "One JSON object");
    command->callback([&chosen, options] { chosen = [options] { return evaluate(*options); }; });
}

} // namespace sluice
