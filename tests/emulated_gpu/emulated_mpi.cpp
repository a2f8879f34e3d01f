// An MPI that takes memory of emulated GPUs, where SLUICE_EMULATED_CUDA_AWARE_MPI=1 says so.
//
// Messages are started at the second mapping of that memory (emulated_memory.hpp), which MPI may
// read and write at any time from start to end, as a real one may: it knows no streams. So a send
// that starts before its work is done carries NaNs or old numbers, and a receive that starts too
// early shows as wrong bits in what still reads the memory.
//
// The linker leads the program's calls here (--wrap), so that tests can count the same calls by
// MPI's profiling interface.
#include "pipeline/transport/mpi_message_type.hpp"
#include "tests/emulated_gpu/emulated_memory.hpp"

namespace {

using sluice::testing::EmulatedMemory;

void* reached_by_mpi(const void* buffer, int count, MPI_Datatype type)
{
    MPI_Count bytes = 0;
    MPI_Type_size_x(type, &bytes);
    return EmulatedMemory::of_process().for_mpi(const_cast<void*>(buffer), // as MPI_Irecv's is not
                                                static_cast<std::size_t>(count * bytes));
}

} // namespace

extern "C" {

// Its declaration is in an extension's header that not every MPI has.
int MPIX_Query_cuda_support() { return sluice::testing::emulated_mpi_takes_gpu_memory() ? 1 : 0; }

int __real_MPI_Isend(const void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*);
int __wrap_MPI_Isend(const void* buffer, int count, MPI_Datatype type, int to, int tag,
                     MPI_Comm communicator, MPI_Request* request)
{
    return __real_MPI_Isend(reached_by_mpi(buffer, count, type), count, type, to, tag, communicator,
                            request);
}

int __real_MPI_Irecv(void*, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request*);
int __wrap_MPI_Irecv(void* buffer, int count, MPI_Datatype type, int from, int tag,
                     MPI_Comm communicator, MPI_Request* request)
{
    return __real_MPI_Irecv(reached_by_mpi(buffer, count, type), count, type, from, tag,
                            communicator, request);
}

} // extern "C"
