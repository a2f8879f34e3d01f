// sluice submit: one batch job for Slurm, after the plan has said that the run fits.

#include "core/error.hpp"
#include "core/logging.hpp"
#include "src/cli/commands.hpp"
#include "src/cli/option_checks.hpp"
#include "src/cli/repeated_option.hpp"
#include "src/config/layout.hpp"
#include "src/plan/candidate.hpp"
#include "src/plan/memory_amount.hpp"
#include "src/plan/memory_limit.hpp"
#include "src/plan/run_plan.hpp"
#include "src/submit/batch_script.hpp"
#include "src/submit/gpu_request.hpp"
#include "src/submit/site_file.hpp"
#include "src/text/number_text.hpp"
#include "src/train/run_folder.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <regex>
#include <sys/wait.h>

namespace sluice {

namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

struct SubmitOptions {
    std::string run_file, run_dir, site, time, partition, account, qos, memory, gpu_memory, name;
    std::vector<std::string> overrides, sbatch;
    int nodes = 1, tasks_per_node = 1, cpus_per_task = 0, gpus_per_node = 0, slices = 0;
    bool dry_run = false;

    std::int64_t num_ranks() const { return std::int64_t{nodes} * tasks_per_node; }
};

void set(Settings& settings, const std::string& option, const std::string& value)
{
    for (auto& [name, old] : settings)
        if (name == option) {
            old = value;
            return;
        }
    settings.emplace_back(option, value);
}

std::string value_of(const Settings& settings, const std::string& option)
{
    for (const auto& [name, value] : settings)
        if (name == option)
            return value;
    return {};
}

/// The plan is for the ranks that this command's own options say.
void refuse_other_ranks(const std::string& option, const std::string& where)
{
    if (option == "nodes" || option == "ntasks" || option == "ntasks-per-node")
        throw usage_error("sbatch's " + option + " would give the job other ranks than the plan",
                          where, "write --nodes N --ntasks-per-node M instead");
}

/// What every job has, then the site's, then what the command line says.
Settings sbatch_options(const SubmitOptions& options, const SiteSettings& site,
                        const std::string& name)
{
    Settings settings{{"job-name", name},
                      {"output", options.slices > 0 ? "%x-%A.out" : "%x-%j.out"},
                      {"open-mode", "append"},
                      {"requeue", ""},
                      {"signal", "USR1@120"},
                      {"nodes", std::to_string(options.nodes)},
                      {"ntasks-per-node", std::to_string(options.tasks_per_node)}};
    for (const auto& [option, value] : site.sbatch) {
        refuse_other_ranks(option, options.site);
        set(settings, option, value == option ? "" : value);
    }
    const auto given = [&](const char* option, const std::string& value) {
        if (!value.empty())
            set(settings, option, value);
    };
    const auto given_number = [&](const char* option, int value) {
        if (value > 0)
            set(settings, option, std::to_string(value));
    };
    given_number("cpus-per-task", options.cpus_per_task);
    given_number("gpus-per-node", options.gpus_per_node);
    given("time", options.time);
    given("partition", options.partition);
    given("account", options.account);
    given("qos", options.qos);
    given("mem", options.memory);
    if (options.slices > 0)
        set(settings, "array", fmt::format("1-{}%1", options.slices));
    for (const std::string& text : options.sbatch) {
        const std::size_t begin = std::min(text.find_first_not_of('-'), text.size());
        const std::size_t equals = std::min(text.find('=', begin), text.size());
        refuse_other_ranks(text.substr(begin, equals - begin), "--sbatch " + text);
        set(settings, text.substr(begin, equals - begin),
            equals < text.size() ? text.substr(equals + 1) : "");
    }
    return settings;
}

/// sbatch's --mem: megabytes of 2^20 bytes, or K, M, G, T of 1024; "0" is a whole node.
std::size_t node_bytes(const std::string& memory)
{
    if (memory.empty() || memory == "0")
        return unlimited_bytes;
    const std::size_t digits = std::min(memory.find_first_not_of("0123456789"), memory.size());
    const std::string unit = digits == memory.size() ? "M" : memory.substr(digits);
    if (digits == 0 || unit.size() != 1 || !std::strchr("KMGTkmgt", unit.front()))
        throw usage_error("'" + memory + "' is not an amount of memory that sbatch takes", "--mem",
                          "write a whole number with K, M, G or T behind it, like 240G");
    return bytes_from(memory.substr(0, digits) + unit + "iB", "--mem");
}

/// sbatch's --time; empty: the partition's.
void refuse_odd_time(const std::string& time)
{
    static const std::regex form("[0-9]+(:[0-9]+){0,2}|[0-9]+-[0-9]+(:[0-9]+){0,2}|"
                                 "unlimited|infinite",
                                 std::regex::extended | std::regex::icase);
    if (!time.empty() && !std::regex_match(time, form))
        throw usage_error("'" + time + "' is not a time that sbatch takes", "--time",
                          "write minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS, like "
                          "12:00:00");
}

std::size_t share_of(std::size_t bytes, std::int64_t num_sharing)
{
    return bytes == unlimited_bytes ? bytes : bytes / static_cast<std::size_t>(num_sharing);
}

/// Of the GPU, for each rank on it.
std::size_t gpu_bytes_per_rank(const SubmitOptions& options, const GpuRequest& gpus)
{
    return options.gpu_memory.empty() ? unlimited_bytes
                                      : share_of(bytes_from(options.gpu_memory, "--gpu-memory"),
                                                 gpus.ranks_per_gpu(options.tasks_per_node));
}

/// "4 stages, zb-v, on CPUs, up to 812 MB per rank", behind warnings of what cannot be meant.
/// Throws UserError (usage) when it does not fit.
std::string plan_text(const SubmitOptions& options, const Settings& sbatch)
{
    refuse_pipe(options.run_file);
    RunConfig asked = load_run_config(options.run_file, options.overrides);
    check_layout(asked, options.num_ranks(),
                 {.name = "--nodes", .ranks_each = options.tasks_per_node});
    const GpuRequest gpus = gpu_request(sbatch, options.nodes, options.tasks_per_node);
    for (const std::string& doubt : doubts_about(gpus, asked.run.device, options.tasks_per_node))
        log_warning(doubt);
    asked.run.device = device_of_job(asked.run.device, gpus);
    const bool on_gpus = asked.run.device == "cuda";
    if (!on_gpus && !options.gpu_memory.empty())
        throw usage_error("the run is on CPUs, which have no GPU's memory", "--gpu-memory",
                          "add --gpus-per-node, or leave it out");
    const std::size_t of_host =
        share_of(node_bytes(value_of(sbatch, "mem")), options.tasks_per_node);
    const std::size_t per_rank = on_gpus ? gpu_bytes_per_rank(options, gpus) : of_host;
    const auto num_stages = static_cast<int>(options.num_ranks() / asked.pipeline.replicas);
    RunConfig config = resolve_auto(asked, num_stages, per_rank);
    RunPlan plan = plan_run(config, num_stages);
    settle_saves(config, plan, of_host);
    refuse_unless_it_fits(config, plan, per_rank);
    return fmt::format("{} stage(s), {} replica(s), {}, on {}, up to {} {}", num_stages,
                       config.pipeline.replicas, plan.schedule_name, on_gpus ? "GPUs" : "CPUs",
                       bytes_text(peak_of(plan).bytes), on_gpus ? "of a GPU per rank" : "per rank");
}

BatchJob job_from(const SubmitOptions& options)
{
    const SiteSettings site = options.site.empty() ? SiteSettings{} : read_site_file(options.site);
    const std::string stem = std::filesystem::path(options.run_file).stem().string();
    const std::string run_dir = run_dir_of(options.run_file, options.run_dir).string();
    BatchJob job{.comment = {},
                 .sbatch =
                     sbatch_options(options, site, options.name.empty() ? stem : options.name),
                 .variables = {{"SLUICE", std::filesystem::read_symlink("/proc/self/exe").string()},
                               {"SLUICE_RUN_DIR", run_dir}},
                 .run_file = options.run_file,
                 .train_options = {}};
    refuse_odd_time(value_of(job.sbatch, "time"));
    for (const auto& [name, value] : site.variables)
        set(job.variables, name, value);
    if (!options.run_dir.empty() || is_config_of_a_run(options.run_file)) // above the site's
        set(job.variables, "SLUICE_RUN_DIR", run_dir);
    for (const std::string& override : options.overrides)
        job.train_options.insert(job.train_options.end(), {"--set", override});
    job.comment = "Written by `sluice submit` " SLUICE_VERSION " for " + options.run_file + "\n" +
                  plan_text(options, job.sbatch);
    return job;
}

/// sbatch reads the script from its standard input and says the job's number.
int hand_to_sbatch(const BatchJob& job, const std::string& script)
{
    // What stands in the script was chosen; the same in the environment would win over it.
    for (const auto& [option, value] : job.sbatch)
        if (const std::string_view name = variable_of_option(option); !name.empty())
            unsetenv(std::string(name).c_str());
    std::fflush(stdout);
    // A shell that finds no sbatch ends without reading; its exit code says so, not a signal to us.
    std::signal(SIGPIPE, SIG_IGN);
    std::FILE* const pipe =
        popen("command -v sbatch >/dev/null 2>&1 || exit 127; exec sbatch", "w");
    if (pipe == nullptr)
        throw usage_error("cannot start a shell", "sbatch", "use --dry-run and submit by hand");
    const bool written = std::fwrite(script.data(), 1, script.size(), pipe) == script.size();
    const int status = pclose(pipe);
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == 127)
        throw usage_error("there is no sbatch on this machine", "PATH",
                          "submit from a login node, or try `./dev cluster up`");
    if (code != 0 || !written)
        throw usage_error("sbatch did not take the job; its reason is above", "sbatch",
                          "`--dry-run` shows the script");
    return 0;
}

int submit(const SubmitOptions& options)
{
    const BatchJob job = job_from(options);
    const std::string script = batch_script(job);
    if (options.dry_run) {
        fmt::print("{}", script);
        return 0;
    }
    fmt::print("{}\n", job.comment.substr(job.comment.find('\n') + 1));
    return hand_to_sbatch(job, script);
}

void add_resources(CLI::App& command, SubmitOptions& options)
{
    command.add_option("--nodes,-N", options.nodes, "Nodes")
        ->check(CLI::Range(std::int64_t{1}, most_ranks))
        ->capture_default_str();
    command
        .add_option("--ntasks-per-node", options.tasks_per_node,
                    "Ranks on each node, one per pipeline stage and replica")
        ->check(CLI::Range(std::int64_t{1}, most_ranks))
        ->capture_default_str();
    command
        .add_option("--cpus-per-task", options.cpus_per_task, "Cores, and threads, of each rank")
        ->check(CLI::Range(std::int64_t{1}, most_ranks));
    command.add_option("--gpus-per-node", options.gpus_per_node, "GPUs of each node")
        ->check(CLI::Range(std::int64_t{1}, most_ranks));
    command.add_option("--mem", options.memory,
                       "Memory of each node as sbatch takes it (240G); a plan for CPUs must fit "
                       "into it");
    command.add_option("--gpu-memory", options.gpu_memory,
                       "Memory of each GPU (80GB): a plan for GPUs must fit into it; sbatch is not "
                       "told");
    command.add_option("--time", options.time, "Time limit of one job, as sbatch takes it");
    command.add_option("--partition,-p", options.partition, "Partition");
    command.add_option("--account,-A", options.account, "Account");
    command.add_option("--qos", options.qos, "Quality of service");
    command
        .add_option("--slices", options.slices,
                    "An array of so many jobs, one after another, instead of one that requeues "
                    "itself")
        ->check(CLI::Range(std::int64_t{1}, most_ranks));
    add_repeated_option(command, "--sbatch", options.sbatch,
                        "Any other option of sbatch: --sbatch exclude=n3 (repeatable)");
}

} // namespace

void add_submit_command(CLI::App& app, ChosenCommand& chosen)
{
    auto options = std::make_shared<SubmitOptions>();
    CLI::App* command = app.add_subcommand(
        "submit", "Submit a run to Slurm: saves, requeues itself and continues until finished");
    command->add_option("RUN.toml", options->run_file, "Run file (docs/run-file.md)")->required();
    add_resources(*command, *options);
    command->add_option("--site", options->site, "Settings of the cluster (slurm/sites/README.md)");
    command->add_option("--name", options->name, "Name of the job [the run file's]");
    command
        ->add_option("--run-dir", options->run_dir,
                     "Folder of the run [runs/<name of the run file>; of a run folder's own "
                     "config.toml, that folder]")
        ->check(not_empty());
    add_set_option(*command, options->overrides);
    command->add_flag("--dry-run", options->dry_run, "Print the script instead of submitting it");
    command->callback([&chosen, options] { chosen = [options] { return submit(*options); }; });
}

} // namespace sluice
