// What a batch job asks of its nodes' GPUs, and whether its ranks can make use of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice {

struct GpuRequest {
    bool any = false;
    std::int64_t per_node = 0; ///< 0: none, or it cannot be told
    bool hides_peers = false;  ///< each rank would see no GPU but its own

    /// Where it cannot be told: 1.
    std::int64_t ranks_per_gpu(int tasks_per_node) const
    {
        return per_node == 0 ? 1 : (tasks_per_node + per_node - 1) / per_node;
    }
};

/// Of sbatch's options: gpus-per-node, gres, gpus, gpus-per-task, gpus-per-socket.
GpuRequest gpu_request(const std::vector<std::pair<std::string, std::string>>& sbatch, int nodes,
                       int tasks_per_node);

/// What `device` (run.device) will be on the job's nodes, as far as it can be told: "cpu" or
/// "cuda".
std::string_view device_of_job(std::string_view device, const GpuRequest& request);

/// What would make the job queue in vain, run slowly, or leave GPUs idle; in words.
std::vector<std::string> doubts_about(const GpuRequest& request, std::string_view device,
                                      int tasks_per_node);

} // namespace sluice
