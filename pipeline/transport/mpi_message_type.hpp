// MPI counts elements in an int; messages here are counted in bytes of any number.
#pragma once

#include <cstdint>

// The C interface only: mpi.h would bring the withdrawn C++ one, and its library, along.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

namespace sluice {

/// A datatype and a count that stand for `num_bytes` contiguous bytes.
struct MpiMessageType {
    MPI_Datatype type = MPI_BYTE;
    int count = 0;
    bool owned = false; ///< made for this message: MPI_Type_free once the message was started
};

/// Bytes up to `largest_plain` travel as MPI_BYTE. Beyond, a type of blocks of `largest_plain`
/// bytes and the rest is made (the only allocation; such messages are over 2 GB).
MpiMessageType mpi_message_type(std::int64_t num_bytes, std::int64_t largest_plain = 0x7fffffff);

} // namespace sluice
