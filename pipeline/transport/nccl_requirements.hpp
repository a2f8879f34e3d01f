// What NCCL needs of a GPU and of the environment, whether or not it is compiled in.
#pragma once

#include <string>

namespace sluice {

/// The most blocks that a message's kernel may have. Each holds most of a multiprocessor until the
/// other rank has come, and by itself NCCL takes up to 32 of them between GPUs on one NVSwitch:
/// four receives that wait, as a middle rank of 1F1B has two and two sends, would leave an H100
/// (132) or A100 (108) nothing to compute with, and what is computed there may be what the others
/// wait for. One block carries some 20 GB/s over NVLink, and one or two fill a network card: enough
/// for activations, which have a micro-batch's time to arrive. An exchange of replicas has one
/// communicator per rank and more to carry. Eight ends and an exchange, which is what a GPU's
/// queues allow, come to 40. Powers of two, to which NCCL rounds up. NCCL_MAX_CTAS goes above
/// that.
constexpr int most_ctas_of_an_edge = 4;
constexpr int most_ctas_of_an_exchange = 8;

/// NCCL_MAX_CTAS of this process; 0: not set. Its configuration files count once it has looked for
/// a network.
int max_ctas_in_this_environment();
/// What a message's kernel may have where `ours` are asked for and NCCL_MAX_CTAS is that.
int most_ctas(int ours, int max_ctas_of_environment);

/// Before NCCL is loaded: turns off what it would set up for collectives that are never asked of it
/// (multicast objects of the NVSwitch for every communicator, without which it may refuse to
/// start). A setting that is already there is left alone.
void ask_nccl_for_messages_alone();

/// "CUDA_LAUNCH_BLOCKING=1 must be unset: ..."; empty where no environment variable is in the way.
std::string why_no_nccl_in_this_environment();

} // namespace sluice
