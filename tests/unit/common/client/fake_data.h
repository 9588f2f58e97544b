/* A data path for the tests of the metadata side: contents in memory, shared by all clients of the
 * process, "acknowledged" at once; what is dirty is committed by flush. */
#ifndef CAIRN_TESTS_FAKE_DATA_H
#define CAIRN_TESTS_FAKE_DATA_H

void fake_data_reset(void);

#endif
