// An MPI that takes memory of emulated GPUs, where SLUICE_EMULATED_CUDA_AWARE_MPI=1 says so.
//
// Messages are started at the second mapping of that memory (emulated_memory.hpp), which MPI may
// read and write at any time from start to end, as a real one may: it knows no streams. So a send
// that starts before its work is done carries NaNs or old numbers, and a receive that starts too
// early shows as wrong bits in what still reads the memory. Either is refused besides, and so is
// work on that memory before its message has ended, also in pinned memory of the host
// (stream_order.hpp).
//
// The linker leads the program's calls here (--wrap), so that tests can count the same calls by
// MPI's profiling interface.
#include "pipeline/transport/mpi_message_type.hpp"
#include "tests/emulated_gpu/emulated_memory.hpp"
#include "tests/emulated_gpu/work_queues.hpp"

namespace {

using sluice::testing::EmulatedMemory;
using sluice::testing::WorkQueues;

std::size_t bytes_of(int count, MPI_Datatype type)
{
    MPI_Count bytes = 0;
    MPI_Type_size_x(type, &bytes);
    return static_cast<std::size_t>(count * bytes);
}

void* reached_by_mpi(const void* buffer, std::size_t num_bytes)
{
    return EmulatedMemory::of_process().for_mpi(const_cast<void*>(buffer), // as MPI_Irecv's is not
                                                num_bytes);
}

/// Memory that work of streams may touch is the message's from here on, until its request is done.
void begins(MPI_Request request, const char* name, const void* buffer, std::size_t num_bytes,
            bool written)
{
    if (EmulatedMemory::of_process().find(buffer, num_bytes))
        WorkQueues::of_process().begin_message(MPI_Request_c2f(request), name,
                                               {buffer, num_bytes, written, "message"});
}

void ends(MPI_Fint request) { WorkQueues::of_process().end_message(request); }

} // namespace

extern "C" {

// Its declaration is in an extension's header that not every MPI has.
int MPIX_Query_cuda_support() { return sluice::testing::emulated_mpi_takes_gpu_memory() ? 1 : 0; }

int __real_MPI_Isend(const void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*);
int __wrap_MPI_Isend(const void* buffer, int count, MPI_Datatype type, int to, int tag,
                     MPI_Comm communicator, MPI_Request* request)
{
    const std::size_t num_bytes = bytes_of(count, type);
    const int result = __real_MPI_Isend(reached_by_mpi(buffer, num_bytes), count, type, to, tag,
                                        communicator, request);
    begins(*request, "MPI's send", buffer, num_bytes, false);
    return result;
}

int __real_MPI_Irecv(void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*);
int __wrap_MPI_Irecv(void* buffer, int count, MPI_Datatype type, int from, int tag,
                     MPI_Comm communicator, MPI_Request* request)
{
    const std::size_t num_bytes = bytes_of(count, type);
    const int result = __real_MPI_Irecv(reached_by_mpi(buffer, num_bytes), count, type, from, tag,
                                        communicator, request);
    begins(*request, "MPI's receive", buffer, num_bytes, true);
    return result;
}

int __real_MPI_Wait(MPI_Request*, MPI_Status*);
int __wrap_MPI_Wait(MPI_Request* request, MPI_Status* status)
{
    const MPI_Fint waited_for = MPI_Request_c2f(*request); // while it is there
    const int result = __real_MPI_Wait(request, status);
    ends(waited_for);
    return result;
}

int __real_MPI_Test(MPI_Request*, int*, MPI_Status*);
int __wrap_MPI_Test(MPI_Request* request, int* complete, MPI_Status* status)
{
    const MPI_Fint asked_for = MPI_Request_c2f(*request);
    const int result = __real_MPI_Test(request, complete, status);
    if (*complete != 0)
        ends(asked_for);
    return result;
}

} // extern "C"
