#include "src/train/run_journal.hpp"

#include "core/error.hpp"
#include "core/logging.hpp"
#include "core/parallel.hpp"
#include "io/checkpoint.hpp"
#include "io/sample_order.hpp"
#include "pipeline/timeline/compute_actions.hpp"
#include "src/config/run_key.hpp"
#include "src/plan/candidate.hpp"
#include "src/plan/checkpoint_space.hpp"
#include "src/process/process_memory.hpp"
#include "src/process/program_version.hpp"
#include "src/text/number_text.hpp"
#include "src/train/ancestry.hpp"

#include <cmath>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace sluice {

namespace {

/// The log first, so that it tells of whatever else cannot be opened.
RunFolder& logged(RunFolder& folder)
{
    log_to_file(folder.log());
    return folder;
}

/// "4+4+3": of each rank of a pipeline, with all its chunks.
std::string layers_text(const RunPlan& plan)
{
    std::vector<std::int64_t> of_rank(static_cast<std::size_t>(plan.program.num_ranks()), 0);
    for (std::size_t chunk = 0; chunk < plan.partition.size(); ++chunk)
        of_rank[static_cast<std::size_t>(plan.program.rank_of_chunk[chunk])] +=
            plan.partition[chunk].num_layers();
    return fmt::format("{}", fmt::join(of_rank, "+"));
}

/// Bytes, which sums over ranks carry as doubles.
std::vector<std::int64_t> whole(const std::vector<double>& numbers)
{
    return {numbers.begin(), numbers.end()};
}

} // namespace

RunJournal::RunJournal(const RunConfig& config, RunFolder& folder, std::int64_t completed_updates)
    : config_(config), folder_(logged(folder)), metrics_(folder.metrics(), completed_updates),
      progress_(config)
{
    if (config.checkpoint.on_failure == WriteFailure::go_on)
        metrics_.keep_refused_lines();
    folder_.tell("running", completed_updates, "", 0);
}

void RunJournal::started(std::int64_t completed_updates, const RunPlan& plan,
                         const Replicas& replicas, const RunHardware& hardware,
                         const Origin& origin)
{
    const std::size_t peak_bytes = peak_of(plan).bytes;
    const std::string layers = layers_text(plan);
    log_info(fmt::format("{} parameters in {} layers on {} stage(s): {}, {}",
                         count_text(static_cast<double>(num_parameters(config_.model))),
                         config_.model.num_layers, replicas.ranks_per_replica(), layers,
                         plan.schedule_name));
    log_info(fmt::format("{} micro-batches of {} x {} tokens per update, {} thread(s) per rank",
                         config_.batch.num_microbatches(), config_.batch.micro_batch_size,
                         config_.batch.seq_len, num_threads()));
    if (replicas.count() > 1)
        log_info(fmt::format("{} replicas, {} micro-batches each, moments shared out",
                             replicas.count(), plan.program.num_microbatches));
    log_info(fmt::format("memory per rank: up to {}, {} of it tensors; checkpoints of {}",
                         bytes_text(peak_bytes), bytes_text(peak_bytes - program_bytes),
                         bytes_text(plan_checkpoint_space(config_, plan).bytes_each)));
    if (origin.resumed_from)
        log_info(fmt::format("resumed from {} at update {}", origin.resumed_from->string(),
                             completed_updates));
    for (const std::string& difference : origin.changed_recipe)
        log_info("from here on another recipe: " + difference);
    for (const std::string& difference : origin.changed_rounding)
        log_warning(difference + ": from here on sums are rounded in another order");
    write("start",
          std::vector<MetricField>{
              {"update", completed_updates},
              {"num_ranks", std::int64_t{replicas.world().num_ranks()}},
              {"replicas", std::int64_t{replicas.count()}},
              {"resumed_from",
               origin.resumed_from ? absolute_path(*origin.resumed_from).string() : std::string()},
              {"resumed_from_relative",
               origin.resumed_from ? path_from_run_folder(folder_.path(), *origin.resumed_from)
                                   : std::string()},
              {"changed_recipe", origin.changed_recipe},
              {"layers_per_stage", layers},
              {"schedule", plan.schedule_name},
              {"planned_bytes", static_cast<std::int64_t>(peak_bytes)},
              {"flops_per_token", flops_per_token(config_.model, config_.batch.seq_len)},
              {"device", config_.run.device},
              {"gpus", hardware.gpus},
              {"precision", std::string(name_of(config_.precision))},
              {"transport", hardware.transport},
              {"arithmetic", hardware.arithmetic},
              {"program", program_version()}});
}

void RunJournal::write(std::string_view event, std::span<const MetricField> fields)
{
    if (const std::string warning = folder_.keep_lock(); !warning.empty())
        progress_.warn(warning);
    metrics_.write(event, fields);
    tell_of_waiting_lines();
}

void RunJournal::tell_of_waiting_lines()
{
    const std::string why = metrics_.why_lines_wait();
    if (lines_wait_ == !why.empty())
        return;
    lines_wait_ = !why.empty();
    if (lines_wait_)
        progress_.warn(why + "; lines of metrics wait in memory until they can be written");
    else
        progress_.note("lines of metrics that waited in memory are written");
}

void RunJournal::attempt(const std::function<void()>& work)
{
    try {
        work();
    } catch (const UserError& error) {
        if (config_.checkpoint.on_failure == WriteFailure::stop)
            throw;
        progress_.warn(error.where() + ": " + error.problem());
    }
}

/// First and last global sample of a range of batches.
std::vector<std::int64_t> RunJournal::samples_of(const BatchRange& batches) const
{
    const std::int64_t size = config_.batch.global_batch_size;
    return {static_cast<std::int64_t>(first_sample_of_batch(batches.first, size)),
            static_cast<std::int64_t>(first_sample_of_batch(batches.last + 1, size)) - 1};
}

void RunJournal::updated(const Update& update)
{
    const std::int64_t tokens_per_update = config_.batch.tokens_per_update();
    std::vector<MetricField> fields{
        {"update", update.number},
        {"samples", samples_of({update.batch, update.batch})},
        {"loss", update.summary.loss},
        {"grad_norm", update.summary.grad_norm},
        {"lr", update.lr},
        {"tokens", update.number * tokens_per_update},
        {"seconds", update.seconds},
        {"tokens_per_second", static_cast<double>(tokens_per_update) / update.seconds},
        {"alpha", std::vector<double>(update.alphas.begin(), update.alphas.end())}};
    if (!update.parameters_digest.empty())
        fields.push_back({"parameters_digest", update.parameters_digest});
    write("update", fields);
    progress_.show({.update = update.number,
                    .loss = update.summary.loss,
                    .seconds = update.seconds,
                    .alphas = update.alphas});
}

void RunJournal::measured_activation_norms(std::int64_t update, const std::vector<double>& rms)
{
    write("activation_norm", std::vector<MetricField>{{"update", update}, {"rms", rms}});
}

void RunJournal::evaluated(std::int64_t update, double loss, std::int64_t tokens, double seconds)
{
    write("eval", std::vector<MetricField>{{"update", update},
                                           {"loss", loss},
                                           {"perplexity", std::exp(loss)},
                                           {"tokens", tokens},
                                           {"seconds", seconds}});
    progress_.note(fmt::format("update {}: validation loss {:.4f}, perplexity {:.2f} ({} tokens)",
                               update, loss, std::exp(loss),
                               count_text(static_cast<double>(tokens))));
}

void RunJournal::traced(const WrittenTrace& written)
{
    write("trace", std::vector<MetricField>{{"update", written.last_update},
                                            {"first_update", written.first_update},
                                            {"path", absolute_path(written.trace).string()},
                                            {"ledger", absolute_path(written.ledger).string()},
                                            {"seconds", written.seconds}});
    progress_.note(fmt::format("traced updates {}-{} (ms per update): {}", written.first_update,
                               written.last_update, written.trace.string()));
    for (const std::string& line : written.table)
        progress_.note(line);
}

void RunJournal::put_files_back()
{
    if (metrics_.put_back())
        progress_.warn(
            folder_.metrics().string() +
            " was deleted, moved or replaced while the run writes it; it is back, whole");
    std::error_code error;
    if (!std::filesystem::exists(folder_.log(), error) && !error)
        log_to_file(folder_.log()); // a rotated log's next lines
}

void RunJournal::saved(const SavedCheckpoint& saved)
{
    attempt([this] { put_files_back(); });
    const auto folder = folder_.checkpoints() / checkpoint_folder_name(saved.update);
    write("checkpoint", std::vector<MetricField>{{"update", saved.update},
                                                 {"path", absolute_path(folder).string()},
                                                 {"parameters_digest", saved.parameters_digest},
                                                 {"seconds", saved.seconds},
                                                 {"stall_seconds", saved.stall_seconds},
                                                 {"write_seconds", saved.write_seconds}});
    attempt([&] { folder_.tell("running", saved.update, "", 0); });
    progress_.note(saved.stall_seconds < saved.seconds
                       ? fmt::format("saved {} ({:.1f} s, training stood still for {:.2f} s)",
                                     folder.string(), saved.seconds, saved.stall_seconds)
                       : fmt::format("saved {} ({:.1f} s)", folder.string(), saved.seconds));
}

void RunJournal::not_saved(std::int64_t update, const UserError& error)
{
    not_done("checkpoint_failed", update, fmt::format("update {} could not be saved", update),
             error);
}

void RunJournal::not_evaluated(std::int64_t update, const UserError& error)
{
    not_done("eval_failed", update, fmt::format("update {} could not be evaluated", update), error);
}

void RunJournal::not_traced(std::int64_t update, const UserError& error)
{
    not_done("trace_failed", update,
             fmt::format("the trace that ends with update {} could not be written", update), error);
}

void RunJournal::not_done(std::string_view event, std::int64_t update, std::string_view what,
                          const UserError& error)
{
    const std::string reason = error.where() + ": " + error.problem();
    write(event, std::vector<MetricField>{{"update", update}, {"reason", reason}});
    progress_.warn(fmt::format("{}: {}; the run goes on without, as checkpoint.on_failure says",
                               what, reason));
}

void RunJournal::waiting_for_save(std::int64_t update, std::int64_t earlier)
{
    progress_.note(fmt::format("the save of update {} waits: that of update {} is still being "
                               "written (checkpoint.every_updates is short for this disk)",
                               update, earlier));
}

void RunJournal::ended(const End& end, const std::vector<double>& peak_resident_bytes,
                       const std::vector<double>& peak_device_bytes)
{
    progress_.finish();
    std::vector<MetricField> fields{{"update", end.update},
                                    {"reason", end.reason},
                                    {"peak_resident_bytes", whole(peak_resident_bytes)}};
    if (!peak_device_bytes.empty())
        fields.push_back({"peak_device_bytes", whole(peak_device_bytes)});
    attempt([this] { put_files_back(); });
    write("stop", fields);
    metrics_.sync();
    const ExitCode code = end.finished ? ExitCode::finished : ExitCode::stopped;
    folder_.tell(end.finished ? "finished" : "stopped", end.update, end.reason,
                 static_cast<int>(code));
}

void RunJournal::say_ended(const End& end)
{
    log_info(fmt::format("{} at update {}: {}", end.finished ? "finished" : "stopped", end.update,
                         end.reason));
    if (!end.finished)
        log_info("run the same command again to continue");
}

} // namespace sluice
