// The queues that a process has to a GPU, through which the work of its streams goes.
#pragma once

namespace sluice {

/// Before anything that may start CUDA, MPI included. By default a GPU has 8 queues for all streams
/// of a process, and streams that share one can hold each other up: with a stream for each way to
/// another rank, and messages by NCCL that hold up their stream until the other rank comes, ranks
/// could wait for one another for good. Asks for 32, which is the most; a setting that is already
/// there (CUDA_DEVICE_MAX_CONNECTIONS) is left alone.
void ask_for_queues_on_gpus();

/// How many queues this process has, or will have once CUDA starts.
int num_queues_on_gpus();

} // namespace sluice
