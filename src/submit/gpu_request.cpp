#include "src/submit/gpu_request.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <ranges>

namespace sluice {

namespace {

/// Of "4", "h100:4" or "a100:2,3g.20gb"; a kind without a number is one GPU.
std::int64_t count_in(std::string_view text)
{
    constexpr std::int64_t most = 1'000'000; // as many as ranks; sums and products stay in range
    std::int64_t sum = 0;
    for (const auto part : std::views::split(text, ',')) {
        const std::string_view one(part.begin(), part.end());
        const std::string_view last = one.substr(one.rfind(':') + 1);
        std::int64_t number = 1;
        const auto [end, error] = std::from_chars(last.data(), last.data() + last.size(), number);
        const bool is_kind = error != std::errc() || end != last.data() + last.size();
        sum += is_kind ? 1 : std::clamp<std::int64_t>(number, 0, most);
    }
    return sum;
}

/// Of "gpu:h100:4,shm:1".
std::int64_t count_in_gres(std::string_view text)
{
    std::int64_t sum = 0;
    for (const auto part : std::views::split(text, ',')) {
        std::string_view one(part.begin(), part.end());
        if (one.starts_with("gres/"))
            one.remove_prefix(5);
        if (one == "gpu" || one.starts_with("gpu:"))
            sum += count_in(one);
    }
    return sum;
}

} // namespace

GpuRequest gpu_request(const std::vector<std::pair<std::string, std::string>>& sbatch, int nodes,
                       int tasks_per_node)
{
    GpuRequest request;
    for (const auto& [option, value] : sbatch) {
        const auto asks = [&](std::int64_t per_node) {
            request.any = request.any || per_node > 0;
            request.per_node = std::max(request.per_node, per_node);
        };
        if (option == "gpus-per-node") {
            asks(count_in(value));
        } else if (option == "gres") {
            asks(count_in_gres(value));
        } else if (option == "gpus-per-task") {
            asks(count_in(value) * tasks_per_node);
            request.hides_peers = tasks_per_node > 1;
        } else if (option == "gpus" || option == "gpus-per-socket") {
            request.any = request.any || count_in(value) > 0;
            if (option == "gpus" && count_in(value) % nodes == 0)
                asks(count_in(value) / nodes);
        }
    }
    return request;
}

std::string_view device_of_job(std::string_view device, const GpuRequest& request)
{
    return device == "cuda" || (device == "auto" && request.any) ? "cuda" : "cpu";
}

std::vector<std::string> doubts_about(const GpuRequest& request, std::string_view device,
                                      int tasks_per_node)
{
    std::vector<std::string> doubts;
    if (device == "cpu" && request.any)
        doubts.push_back(
            "the job asks for GPUs, which a run with run.device = \"cpu\" leaves idle");
    if (device == "cuda" && !request.any)
        doubts.push_back("run.device = \"cuda\", but the job asks for no GPUs: give "
                         "--gpus-per-node, unless its nodes give theirs to every job");
    if (device == "cpu")
        return doubts;
    if (request.hides_peers)
        doubts.push_back("gpus-per-task hides the GPUs of a node's ranks from each other: give "
                         "--gpus-per-node instead");
    if (request.per_node > tasks_per_node)
        doubts.push_back(fmt::format("{} of {} GPUs on each node stay idle, as it has {} rank{}: "
                                     "--ntasks-per-node {} would use all",
                                     request.per_node - tasks_per_node, request.per_node,
                                     tasks_per_node, tasks_per_node > 1 ? "s" : "",
                                     request.per_node));
    else if (request.per_node > 0 && request.per_node < tasks_per_node)
        doubts.push_back(fmt::format("{} ranks share {} GPU{} on each node: they take turns, and "
                                     "their messages go by way of the host's memory",
                                     tasks_per_node, request.per_node,
                                     request.per_node > 1 ? "s" : ""));
    return doubts;
}

} // namespace sluice
