#include "core/parallel.hpp"

#include "core/error.hpp"

#include <omp.h>

namespace sluice {

void set_num_threads(int num_threads)
{
    SLUICE_CHECK(num_threads >= 1, "num_threads " << num_threads);
    omp_set_dynamic(0);
    omp_set_num_threads(num_threads);
}

int num_threads() { return omp_get_max_threads(); }

} // namespace sluice
