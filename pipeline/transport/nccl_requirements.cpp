#include "pipeline/transport/nccl_requirements.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>

namespace sluice {

namespace {

/// Integers, as NCCL and CUDA read them; a variable that is not set, or empty, has none.
struct Unfit {
    const char* variable;
    bool (*is_unfit)(long value);
    const char* why;
};

constexpr const char* too_many_blocks =
    "messages that wait could take all of a GPU's multiprocessors";

bool is_zero(long value) { return value == 0; }
bool is_set(long value) { return value != 0; }
bool is_there(long) { return true; }
bool is_above_ours(long value) { return value > most_ctas_of_an_edge; }

constexpr std::array<Unfit, 8> unfit{{
    // Above what is asked for in ncclConfig_t.
    {"NCCL_COMM_BLOCKING", is_zero, "calls would return before they are done"},
    // For programs that make one and have no other way to share its id.
    {"NCCL_COMM_ID", is_there, "all communicators would meet at one address"},
    // A receive is queued long before its message is sent.
    {"CUDA_LAUNCH_BLOCKING", is_set, "ranks would wait for one another's messages for good"},
    {"NCCL_LAUNCH_ORDER_IMPLICIT", is_set, "messages would wait for those of other ranks' turn"},
    // NCCL raises its channels to these after it has cut them to the most that was asked for.
    {"NCCL_MIN_NCHANNELS", is_above_ours, too_many_blocks},
    {"NCCL_MIN_NRINGS", is_above_ours, too_many_blocks},
    {"NCCL_MIN_P2P_NCHANNELS", is_above_ours, too_many_blocks},
    {"NCCL_MIN_CTAS", is_above_ours, "some versions refuse more than the most that is asked for"},
}};

} // namespace

int max_ctas_in_this_environment()
{
    const char* const text = std::getenv("NCCL_MAX_CTAS");
    return text == nullptr ? 0
                           : static_cast<int>(std::clamp(std::strtol(text, nullptr, 0), 0L, 64L));
}

int most_ctas(int ours, int max_ctas_of_environment)
{
    const auto most = static_cast<unsigned>(std::max(ours, max_ctas_of_environment));
    return static_cast<int>(std::bit_ceil(most));
}

void ask_nccl_for_messages_alone() { setenv("NCCL_NVLS_ENABLE", "0", 0); }

std::string why_no_nccl_in_this_environment()
{
    for (const Unfit& one : unfit) {
        const char* const text = std::getenv(one.variable);
        if (text != nullptr && *text != '\0' && one.is_unfit(std::strtol(text, nullptr, 0)))
            return std::string(one.variable) + "=" + text + " must be unset: " + one.why;
    }
    return {};
}

} // namespace sluice
