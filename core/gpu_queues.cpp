#include "core/gpu_queues.hpp"

#include <algorithm>
#include <cstdlib>

namespace sluice {

namespace {

constexpr const char* variable = "CUDA_DEVICE_MAX_CONNECTIONS";
constexpr int most = 32, by_default = 8; // CUDA's programming guide, environment variables

} // namespace

void ask_for_queues_on_gpus() { setenv(variable, "32", 0); }

int num_queues_on_gpus()
{
    const char* const text = std::getenv(variable);
    const int asked = text == nullptr ? 0 : std::atoi(text);
    return asked < 1 ? by_default : std::min(asked, most);
}

} // namespace sluice
