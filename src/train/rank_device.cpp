#include "src/train/rank_device.hpp"

#include "core/cuda/gpu.hpp"
#include "core/error.hpp"
#include "core/host_name.hpp"
#include "core/logging.hpp"
#include "pipeline/agreement.hpp"
#include "src/config/run_key.hpp"
#include "src/train/rank_binding.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>

namespace sluice {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankGpu, node, machine, num_visible, why_none, driver_loaded,
                                   index, name, uuid, pci_bus, major, minor)

namespace {

/// Their UUIDs, in the order of their indices.
std::string visible_gpus()
{
    std::string all;
    for (int index = 0; index < num_gpus(); ++index)
        all += " " + gpu_info(index).uuid;
    return all;
}

std::vector<RankGpu> gpus_of_all_ranks(Transport& world)
{
    const std::string node = binding_of_this_rank().node;
    // Ranks of a node need not see the same GPUs (srun --gpu-bind=closest).
    std::string seen;
    agree(world, [&] { seen = node + visible_gpus(); });
    const std::vector<std::string> seen_by = world.gather_text(seen);
    const auto rank_among_them = std::count(seen_by.begin(), seen_by.begin() + world.rank(), seen);
    RankGpu mine;
    agree(world, [&] { mine = gpu_of_this_process(node, static_cast<int>(rank_among_them)); });
    std::vector<RankGpu> of_rank;
    for (const std::string& text : world.gather_text(to_text(mine)))
        of_rank.push_back(gpu_from(text));
    return of_rank;
}

std::string kind_of(const RankGpu& gpu)
{
    return fmt::format("{} (compute capability {}.{})", gpu.name, gpu.major, gpu.minor);
}

RankDevice on_cpus(RunConfig& config, WhyOnCpus why)
{
    config.run.device = "cpu";
    RankDevice settled;
    settled.why_on_cpus = std::move(why);
    return settled;
}

RankDevice choose_device(RunConfig& config, Transport& world)
{
    const bool asked = config.run.device == "cuda";
    if (config.run.device == "cpu")
        return {};
    if (config.precision == ComputePrecision::fp64)
        return on_cpus(config, {.reason = "fp64 is computed there alone"});
    const std::vector<RankGpu> of_rank = gpus_of_all_ranks(world);
    if (asked)
        agree(world, [&] { refuse_unfit_gpus(of_rank); });
    else if (auto why = why_on_cpus(of_rank))
        return on_cpus(config, *std::move(why));
    config.run.device = "cuda";
    RankDevice settled{.num_sharing = num_sharing(of_rank, world.rank()),
                       .all_alone = all_alone(of_rank),
                       .lines = gpu_lines(of_rank),
                       .warning = uneven_sharing(of_rank)};
    for (const RankGpu& gpu : of_rank)
        settled.gpus.push_back(gpu.name);
    agree(world,
          [&] { settled.device = use_gpu(of_rank[static_cast<std::size_t>(world.rank())].index); });
    return settled;
}

} // namespace

std::string to_text(const RankGpu& gpu)
{
    return nlohmann::json(gpu).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RankGpu gpu_from(const std::string& text) { return nlohmann::json::parse(text).get<RankGpu>(); }

int gpu_index_of(int rank_among_them, int num_visible) { return rank_among_them % num_visible; }

RankGpu gpu_of_this_process(const std::string& node, int rank_among_them)
{
    RankGpu gpu{.node = node,
                .machine = boot_id(),
                .num_visible = num_gpus(),
                .why_none = why_no_gpu(),
                .driver_loaded = gpu_driver_is_loaded()};
    if (gpu.num_visible == 0)
        return gpu;
    gpu.index = gpu_index_of(rank_among_them, gpu.num_visible);
    const GpuInfo info = gpu_info(gpu.index);
    gpu.name = info.name;
    gpu.uuid = info.uuid;
    gpu.pci_bus = info.pci_bus;
    gpu.major = info.major;
    gpu.minor = info.minor;
    return gpu;
}

std::string why_unfit(const RankGpu& gpu)
{
    if (gpu.num_visible == 0)
        return "no GPU: " + gpu.why_none;
    return gpu.major < least_gpu_major ? "a GPU of an older kind: " + kind_of(gpu) : std::string();
}

void refuse_unfit_gpus(const std::vector<RankGpu>& of_rank)
{
    const RankGpu& first = of_rank.front();
    for (std::size_t rank = 0; rank < of_rank.size(); ++rank) {
        const RankGpu& gpu = of_rank[rank];
        const std::string who = fmt::format("rank {} on {}", rank, gpu.node);
        if (const std::string why = why_unfit(gpu); !why.empty())
            throw usage_error(
                who + " has " + why, "run.device",
                gpu.num_visible == 0
                    ? "ask the cluster for a GPU per rank, see `sluice doctor` there, or write "
                      "device = \"cpu\""
                    : "use GPUs of compute capability 8.0 (A100) or later, or write device = "
                      "\"cpu\"");
        if (gpu.name != first.name)
            throw usage_error(fmt::format("ranks have GPUs of different kinds: rank 0 on {} {}, {} "
                                          "{}; the slowest would hold up all, and sums would be "
                                          "rounded differently",
                                          first.node, kind_of(first), who, kind_of(gpu)),
                              "run.device",
                              "ask the cluster for GPUs of one kind, or choose with "
                              "CUDA_VISIBLE_DEVICES");
    }
}

std::string WhyOnCpus::line() const
{
    return "on CPUs: " + reason +
           (warns ? "; device = \"cuda\" would refuse that, device = \"cpu\" does not mention it"
                  : "");
}

std::optional<WhyOnCpus> why_on_cpus(const std::vector<RankGpu>& of_rank)
{
    const bool has_gpus = std::ranges::any_of(
        of_rank, [](const RankGpu& gpu) { return gpu.driver_loaded || gpu.num_visible > 0; });
    if (!has_gpus)
        return WhyOnCpus{.reason = "there are no GPUs (" + of_rank.front().why_none + ")"};
    try {
        refuse_unfit_gpus(of_rank);
    } catch (const UserError& error) {
        return WhyOnCpus{.reason = error.problem(), .warns = true};
    }
    return std::nullopt;
}

int num_sharing(const std::vector<RankGpu>& of_rank, int rank)
{
    const RankGpu& own = of_rank[static_cast<std::size_t>(rank)];
    return static_cast<int>(std::count_if(of_rank.begin(), of_rank.end(), [&](const RankGpu& gpu) {
        return gpu.node == own.node && gpu.uuid == own.uuid;
    }));
}

bool all_alone(const std::vector<RankGpu>& of_rank)
{
    std::set<std::array<std::string, 3>> places;
    for (const RankGpu& gpu : of_rank) {
        if (gpu.name.find(" MIG ") != std::string::npos) // "NVIDIA A100-SXM4-80GB MIG 1g.10gb"
            return false;
        places.insert({gpu.node, gpu.machine, gpu.pci_bus});
    }
    return places.size() == of_rank.size();
}

std::vector<std::string> gpu_lines(const std::vector<RankGpu>& of_rank)
{
    std::vector<std::string> lines;
    for (std::size_t rank = 0; rank < of_rank.size(); ++rank) {
        const RankGpu& gpu = of_rank[rank];
        std::string ranks;
        bool told = false;
        for (std::size_t other = 0; other < of_rank.size(); ++other) {
            if (of_rank[other].node != gpu.node || of_rank[other].uuid != gpu.uuid)
                continue;
            told = told || other < rank;
            ranks += (ranks.empty() ? "" : ", ") + std::to_string(other);
        }
        if (told)
            continue;
        const bool shared = num_sharing(of_rank, static_cast<int>(rank)) > 1;
        lines.push_back(fmt::format("{} {} {} GPU {} of {} ({})", shared ? "ranks" : "rank", ranks,
                                    shared ? "share" : "on", gpu.index, gpu.node, gpu.name));
    }
    return lines;
}

std::string uneven_sharing(const std::vector<RankGpu>& of_rank)
{
    std::vector<int> sharing;
    for (std::size_t rank = 0; rank < of_rank.size(); ++rank)
        sharing.push_back(num_sharing(of_rank, static_cast<int>(rank)));
    const auto most = std::ranges::max_element(sharing);
    if (*most == *std::ranges::min_element(sharing))
        return {};
    const auto rank = static_cast<std::size_t>(most - sharing.begin());
    const RankGpu& gpu = of_rank[rank];
    return fmt::format("{} ranks, rank {} the first of them, share a GPU of {}, where {} can be "
                       "seen, and others have more of one: all ranks make do with the least memory "
                       "and the slowest messages. Is a GPU missing there, or are ranks spread "
                       "unevenly over the nodes?",
                       *most, rank, gpu.node, gpu.num_visible);
}

RankDevice settle_device(RunConfig& config, Transport& world)
{
    RankDevice device = choose_device(config, world);
    if (world.rank() == 0) {
        for (const std::string& line : device.lines)
            log_info(line);
        if (!device.warning.empty())
            log_warning(device.warning);
        if (const WhyOnCpus& why = device.why_on_cpus; !why.reason.empty())
            why.warns ? log_warning(why.line()) : log_info(why.line());
    }
    config.pipeline.graphs = captures_graphs(config) ? Switch::on : Switch::off;
    return device;
}

std::string refuse_idle_tf32(const RunConfig& config)
{
    if (!config.tf32)
        return {};
    if (config.run.device != "cuda")
        return "precision.tf32 does nothing on CPUs";
    if (config.precision != ComputePrecision::fp32)
        throw usage_error("tf32 = true is for products of fp32, and this run computes in " +
                              std::string(name_of(config.precision)),
                          "precision.tf32, precision.compute",
                          "write compute = \"fp32\", or leave tf32 out");
    return {};
}

} // namespace sluice
